const store = "llava-faba-review-" + document.body.dataset.run;
const read = () => JSON.parse(localStorage.getItem(store) || "{}");
const all = [...document.querySelectorAll("article")];

function show() {
  const mine = read();
  for (const card of all) {
    const decision = mine[card.dataset.key] || card.dataset.default;
    card.dataset.decision = decision;
    for (const button of card.querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(button.value === decision));
  }
  const kept = all.filter(card => card.dataset.decision === "accept").length;
  document.getElementById("count").textContent =
    kept + " of " + all.length + " accepted on this page, " + Object.keys(mine).length + " decided by hand in all";
}

document.addEventListener("click", event => {
  const button = event.target.closest("article button");
  if (!button) return;
  const mine = read();
  mine[button.closest("article").dataset.key] = button.value;
  localStorage.setItem(store, JSON.stringify(mine));
  show();
});

document.getElementById("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(read(), null, 1)], {type: "application/json"}));
  link.download = "decisions.json";
  link.click();
});

show();
