const drawn = [];
for (const box of document.querySelectorAll("[data-figure]")) {
  const { data, layout, frames, config } = JSON.parse(document.getElementById(box.dataset.figure).textContent);
  Plotly.newPlot(box, { data, layout: layout || {}, frames, config: { ...config, responsive: true, displaylogo: false } })
    .then(() => drawn.push(box))
    .catch((error) => {
      box.textContent = `This figure could not be drawn: ${error.message}`;
      console.error(error);
    });
}
// Paper is narrower than the window, and a responsive figure would notice too late. Figures that set a width keep it.
const PAPER_WIDTH = 660;
const fitting = () => drawn.filter((box) => box.layout.autosize !== false && box.layout.width === undefined);
let onPaper = [];
window.addEventListener("beforeprint", () => {
  onPaper = fitting();
  onPaper.forEach((box) => Plotly.relayout(box, { autosize: false, width: PAPER_WIDTH }));
});
window.addEventListener("afterprint", () => {
  onPaper.forEach((box) => Plotly.relayout(box, { autosize: true, width: null }));
});
