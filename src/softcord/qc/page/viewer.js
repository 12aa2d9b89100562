"use strict";
// The viewer: NiiVue on a small copy of image and segmentation, loaded when it is first asked for.

softcord.closeViewer = () => { document.getElementById("viewer").hidden = true; };

softcord.toggleViewer = () => {
  const box = document.getElementById("viewer");
  if (!box.hidden) softcord.closeViewer();
  else if (softcord.current) softcord.openViewer(softcord.current);
};

softcord.openViewer = async (key) => {
  const box = document.getElementById("viewer"), says = document.getElementById("viewer-says");
  box.hidden = false;
  delete box.dataset.key;
  says.textContent = "loading…";
  try {
    if (!window.niivue && !(await softcord.script("page/niivue.js"))) throw new Error("page/niivue.js is missing");
    const content = await softcord.ask("volume", "volumes", key);
    if (!content) throw new Error("the copy of this image is missing");
    if (!softcord.nv) {
      softcord.nv = new niivue.Niivue({ isResizeCanvas: true, show3Dcrosshair: false, crosshairWidth: 0.2, isRadiologicalConvention: true, sagittalNoseLeft: true, backColor: [0, 0, 0, 1], loadingText: "", dragAndDropEnabled: false });
      await softcord.nv.attachToCanvas(document.getElementById("gl"));
    }
    const nv = softcord.nv, record = softcord.entries.get(key);
    while (nv.volumes.length) nv.removeVolume(nv.volumes[0]);
    const load = (base64, name, options) => niivue.NVImage.loadFromBase64({ base64, name, ...options });
    nv.addVolume(await load(content.image, "image.nii.gz", { colormap: "gray" }));
    nv.addVolume(await load(content.mask, "mask.nii.gz", { colormap: record.kind === "labels" ? "random" : "viridis", opacity: Number(document.getElementById("opacity").value) / 100, cal_min: record.kind === "labels" ? 0.5 : 13, cal_max: record.kind === "labels" ? 250 : 255 }));
    nv.setSliceType(nv.sliceTypeMultiplanar);
    if (softcord.current !== key) return;
    nv.updateGLVolume();
    says.textContent = "Wheel: slices. Right button, drag: window. Left button: cross-hair. Cropped around the cord" + (content.steps.some((step) => step > 1) ? " and thinned" : "") + "; NiiVue.";
    box.dataset.key = key;
  } catch (error) {
    says.textContent = "The viewer cannot start: " + error.message;
  }
};
