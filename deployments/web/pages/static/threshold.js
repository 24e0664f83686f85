// The threshold of a run: counts, shapes, plot and links follow the slider at once.
const slider = document.querySelector("#threshold");
const root = document.querySelector("[data-curve], [data-shapes]");
const STEPS = 1000;

function say(selector, number) {
  const cell = root.querySelector(selector);
  if (cell) cell.textContent = number.toLocaleString("en");
}

// From the curve that the server has summed up over all images.
async function byCurve() {
  const answer = await fetch(root.dataset.curve);
  if (!answer.ok) return null;
  const { data } = await answer.json();
  const cells = [...root.querySelectorAll("[data-count]")];
  const mark = root.querySelector("[data-mark]");
  const width = mark ? mark.ownerSVGElement.viewBox.baseVal.width : 0;
  return (threshold) => {
    const step = Math.round(threshold * STEPS);
    let all = 0;
    for (const cell of cells) {
      const count = data.classes[cell.dataset.count][step];
      cell.textContent = count.toLocaleString("en");
      all += count;
    }
    say("[data-sum=live]", data.live[step]);
    say("[data-sum=dead]", data.dead[step]);
    say("[data-sum=all]", all);
    if (mark) for (const end of ["x1", "x2"]) mark.setAttribute(end, threshold * width);
  };
}

// From the shapes on the page, which are all that is kept.
function byShapes() {
  const shapes = [...root.querySelectorAll("[data-confidence]")];
  const known = shapes.map((shape) => Math.fround(shape.dataset.confidence));
  const cells = [...root.querySelectorAll("[data-count]")];
  const doubtful = Number(root.dataset.doubtful);
  return (threshold) => {
    // As the model does: greater than, in numbers of 32 bits.
    const lowest = Math.fround(threshold);
    const counts = new Map();
    let all = 0;
    shapes.forEach((shape, place) => {
      const above = known[place] > lowest;
      shape.classList.toggle("below", !above);
      shape.classList.toggle("doubtful", known[place] - threshold <= doubtful);
      if (!above) return;
      counts.set(shape.dataset.class, (counts.get(shape.dataset.class) ?? 0) + 1);
      all += 1;
    });
    for (const cell of cells) {
      cell.textContent = (counts.get(cell.dataset.count) ?? 0).toLocaleString("en");
    }
    say("[data-sum=all]", all);
  };
}

function keepInAddresses(threshold) {
  const own = threshold === Number(root.dataset.own);
  const withThreshold = (address) => {
    const changed = new URL(address, location);
    if (own) changed.searchParams.delete("threshold");
    else changed.searchParams.set("threshold", threshold);
    return changed;
  };
  history.replaceState(null, "", withThreshold(location));
  for (const link of document.querySelectorAll("a[data-with-threshold], .pager a")) {
    link.href = withThreshold(link.href);
  }
}

if (slider && root) {
  const show = root.dataset.curve ? await byCurve() : byShapes();
  if (show) {
    for (const button of document.querySelectorAll("[data-without-scripts]")) button.hidden = true;
    const follow = () => {
      const threshold = Number(slider.value);
      for (const one of document.querySelectorAll("[data-threshold]")) one.textContent = threshold;
      show(threshold);
    };
    slider.addEventListener("input", follow);
    slider.addEventListener("change", () => keepInAddresses(Number(slider.value)));
    follow();
    document.documentElement.dataset.ready = "threshold";
  }
}

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey) return;
  const rel = { n: "next", p: "prev" }[event.key];
  document.querySelector(`nav a[rel=${rel}]`)?.click();
});
