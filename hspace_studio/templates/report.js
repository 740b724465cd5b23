for (const pair of document.querySelectorAll(".pair.movable")) {
  const slider = pair.querySelector("input");
  const move = () => pair.style.setProperty("--cut", slider.value + "%");
  slider.addEventListener("input", move);
  pair.classList.add("live");
  move();
}
const unfold = () => {
  const run = document.getElementById(location.hash.slice(1))?.closest("details");
  if (run) run.open = true;
};
addEventListener("hashchange", unfold);
unfold();
