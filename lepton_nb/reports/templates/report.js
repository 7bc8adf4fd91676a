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
// A page on paper is narrower than the window; figures that set their own width keep it.
const fit = () => drawn.forEach((box) => Plotly.Plots.resize(box));
window.matchMedia("print").addEventListener("change", fit);
