// The Monitor page without a click: fetch the same page every few seconds and exchange its live part.
// Without this script the link loads the page again, which shows the same.
"use strict";

const PERIOD = 3000; // milliseconds
const link = document.querySelector("[data-refresh]");
const button = document.createElement("button");
let timer = 0;

button.type = "button";
button.className = "second";
link.after(button);
show(false);

button.addEventListener("click", () => {
  show(!timer);
  clearTimeout(timer);
  timer = timer ? 0 : setTimeout(refresh);
});

function show(on) {
  button.textContent = on ? "Stop refreshing" : "Refresh every 3 s";
  button.setAttribute("aria-pressed", String(on));
}

async function refresh() {
  try {
    const answer = await fetch("/monitor", { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(PERIOD) });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.getElementById("live").replaceWith(page.getElementById("live"));
    }
  } catch {
    // The gateway does not answer now: what is shown stays, and the next round asks again.
  }
  if (timer) timer = setTimeout(refresh, PERIOD);
}
