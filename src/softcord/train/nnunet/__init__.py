"""Training with nnU-Net v2 as the engine, with hard or soft labels. The only place where nnU-Net is known.

A run is a folder (`softcord.train.nnunet.layout`). Steps: `planning` (fingerprint, plans, arrays),
`training`, `finetune`, `release`. nnU-Net is driven from Python: classes are handed over, never looked up by
name, and the variables of the environment that it reads are set for it.
"""
