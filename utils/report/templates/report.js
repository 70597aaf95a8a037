"use strict";
const list = document.getElementById("videos");
const videos = Array.from(list.children);
const find = document.getElementById("find");
const order = document.getElementById("order");
const words = Array.from(document.querySelectorAll("[name=word]"));
const count = document.getElementById("count");
const texts = new Map(videos.map((video) => [video, video.querySelector("summary").textContent.toLowerCase()]));

const value = (video, key) => (video.dataset[key] === "" ? NaN : Number(video.dataset[key]));
// What was not judged has no score and comes last, whichever way scores are ordered.
const by = (key, sign) => (a, b) => {
  const [first, second] = [value(a, key), value(b, key)];
  if (Number.isNaN(first) || Number.isNaN(second)) return Number.isNaN(first) - Number.isNaN(second);
  return sign * (first - second);
};
const orders = {
  number: by("number", 1),
  high: by("probability", -1),
  low: by("probability", 1),
  spread: by("spread", -1),
  name: (a, b) => a.dataset.name.localeCompare(b.dataset.name),
};

function sort() {
  list.append(...videos.sort(orders[order.value]));
}

function filter() {
  const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const styles = new Set(words.filter((box) => box.checked).map((box) => box.value));
  let shown = 0;
  for (const video of videos) {
    const text = texts.get(video);
    video.hidden = !(styles.has(video.dataset.style) && wanted.every((part) => text.includes(part)));
    shown += !video.hidden;
  }
  count.value = `${shown} of ${videos.length} shown`;
}

function open(all) {
  for (const video of videos) if (!video.hidden) video.firstElementChild.open = all;
}

find.addEventListener("input", filter);
order.addEventListener("change", sort);
words.forEach((box) => box.addEventListener("change", filter));
document.getElementById("open").addEventListener("click", () => open(true));
document.getElementById("close").addEventListener("click", () => open(false));
document.getElementById("tools").addEventListener("submit", (event) => event.preventDefault());
// A browser that goes back to the page fills in what was chosen.
sort();
filter();
