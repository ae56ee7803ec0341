for (const stage of document.querySelectorAll(".stage")) compare(stage);
const [left, right] = ["left", "right"].map((id) => document.getElementById(id));
const choose = () => {
  for (const stage of document.querySelectorAll(".stage")) show(stage, left?.value, right?.value);
};
for (const select of [left, right]) select?.addEventListener("change", choose);
choose();
const data = document.getElementById("curve-data");
if (data) curves(document.getElementById("panels"), JSON.parse(data.textContent), document.getElementById("smoothing"));
