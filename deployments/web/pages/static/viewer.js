// A picture as SVG that is enlarged, moved and shown whole, by mouse, fingers and keys.
// What is drawn over it is in its pixels; only the view box changes.

const MOST = 40; // times enlarged
const STEP = 1.25;
const SHARE = 0.15; // of what is seen, for an arrow key

export function makeViewer(root) {
  const canvas = root.querySelector(".canvas");
  const shapes = root.querySelector(".shapes");
  const [width, height] = [Number(canvas.dataset.width), Number(canvas.dataset.height)];
  let view = { x: 0, y: 0, w: width, h: height };
  const fingers = new Map();

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function show() {
    view.x = clamp(view.x, 0, width - view.w);
    view.y = clamp(view.y, 0, height - view.h);
    canvas.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
    const shown = canvas.getBoundingClientRect();
    const scale = Math.min(shown.width / view.w, shown.height / view.h) || 1;
    // Names and points stay as large as they are read, however far the picture is enlarged.
    shapes.setAttribute("font-size", 13 / scale);
    for (const point of shapes.querySelectorAll(".point")) point.setAttribute("r", 3.5 / scale);
  }

  // Where a place of the window is in the picture.
  function at(event) {
    const matrix = canvas.getScreenCTM().inverse();
    return new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
  }

  function zoom(factor, centre = { x: view.x + view.w / 2, y: view.y + view.h / 2 }) {
    const w = clamp(view.w / factor, width / MOST, width);
    const kept = w / view.w;
    view = {
      x: centre.x - (centre.x - view.x) * kept,
      y: centre.y - (centre.y - view.y) * kept,
      w,
      h: view.h * kept,
    };
    show();
  }

  function whole() {
    view = { x: 0, y: 0, w: width, h: height };
    show();
  }

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), at(event));
  }, { passive: false });

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    if (fingers.size === 1) {
      const [from, to] = [at(before), at(event)];
      view.x += from.x - to.x;
      view.y += from.y - to.y;
      show();
    } else {
      const other = [...fingers.values()].find((one) => one.pointerId !== event.pointerId);
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      zoom(apart(event) / Math.max(apart(before), 1), at(other));
    }
    fingers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("dblclick", (event) => zoom(2, at(event)));

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (move && view.w < width) {
      view.x += move[0] * view.w * SHARE;
      view.y += move[1] * view.h * SHARE;
      show();
    } else if (event.key === "+" || event.key === "=") zoom(STEP);
    else if (event.key === "-") zoom(1 / STEP);
    else if (event.key === "0") whole();
    else return;
    event.preventDefault();
  });

  for (const button of root.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      if (button.dataset.zoom === "all") whole();
      else zoom(button.dataset.zoom === "in" ? STEP : 1 / STEP);
    });
  }
  new ResizeObserver(show).observe(canvas);
  show();
  return { zoom, whole };
}

for (const root of document.querySelectorAll("[data-viewer]")) makeViewer(root);
