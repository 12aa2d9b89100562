"""Training. The only place where torch is known; nothing here is imported unless a model is trained."""
