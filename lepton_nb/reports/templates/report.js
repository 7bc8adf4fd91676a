// Paper is narrower than the window, and a responsive figure would notice too late. Figures that set a width keep it.
const PAPER_WIDTH = 660;
const drawn = [];
const draw = async (box) => {
  try {
    const { data, layout, frames, config } = JSON.parse(document.getElementById(box.dataset.figure).textContent);
    const options = { ...config, responsive: true, displaylogo: false };
    await (await window.lepton.library).newPlot(box, { data, layout: layout || {}, frames, config: options });
    drawn.push(box);
  } catch (error) {
    box.textContent = `This figure could not be drawn: ${error.message}`;
    console.error(error);
  }
};
if (window.lepton) {
  // What prints the page or takes pictures of its figures waits for this.
  window.lepton.ready = Promise.all([...document.querySelectorAll("[data-figure]")].map(draw));
  let onPaper = [];
  window.addEventListener("beforeprint", () => {
    onPaper = drawn.filter((box) => box.layout.autosize !== false && box.layout.width === undefined);
    onPaper.forEach((box) => Plotly.relayout(box, { autosize: false, width: PAPER_WIDTH }));
  });
  window.addEventListener("afterprint", () => {
    onPaper.forEach((box) => Plotly.relayout(box, { autosize: true, width: null }));
  });
}
const code = document.getElementById("code-switch");
code?.addEventListener("click", () => {
  const hidden = document.body.classList.toggle("without-code");
  code.textContent = hidden ? "Show code" : "Hide code";
});
// What is wider than the page scrolls by itself, and the keyboard must be able to get there.
const reach = () => {
  for (const box of document.querySelectorAll(".output, .code, .table:not([role]), main > table, footer")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
};
reach();
window.addEventListener("resize", reach);
