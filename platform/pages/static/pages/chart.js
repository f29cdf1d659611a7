// A chart's day under the pointer is named above its bar; the table below says the same without one.
document.addEventListener("pointerover", (event) => {
  const day = event.target.closest?.(".chart-day");
  const chart = day?.closest(".chart");
  for (const tip of document.querySelectorAll(".chart-tip")) tip.remove();
  if (!chart) return;
  const tip = document.createElement("div");
  tip.className = "chart-tip";
  tip.textContent = day.dataset.tip;
  chart.append(tip);
  const box = chart.getBoundingClientRect();
  const slot = day.getBoundingClientRect();
  const half = tip.offsetWidth / 2;
  const middle = slot.left + slot.width / 2 - box.left;
  tip.style.left = `${Math.min(Math.max(middle, half), box.width - half)}px`;
});
