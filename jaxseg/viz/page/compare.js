// Pictures under a slider: drag anywhere on one (mouse, pen, touch), or use the arrow keys.
function compare(stage) {
  const input = stage.querySelector("input");
  if (!input) return;
  const place = (value) => stage.style.setProperty("--at", `${value}%`);
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    input.value = Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width));
    place(input.value);
  };
  input.addEventListener("input", () => place(input.value));
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    stage.setPointerCapture(event.pointerId);
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });
}

// Which of a stage's views lie left and right of its slider.
function show(stage, left, right) {
  const names = [...stage.querySelectorAll("img")].map((image) => image.dataset.view);
  if (names.length < 2) return;
  left = names.includes(left) ? left : names[0];
  right = names.includes(right) ? right : names[1];
  for (const image of stage.querySelectorAll("img")) {
    image.classList.toggle("left", image.dataset.view === left);
    image.classList.toggle("right", image.dataset.view === right);
  }
  stage.querySelector(".tag.l").textContent = left;
  stage.querySelector(".tag.r").textContent = right;
  stage.querySelector("input").setAttribute("aria-label", `how much of ${left} is seen, from the left, over ${right}`);
}
