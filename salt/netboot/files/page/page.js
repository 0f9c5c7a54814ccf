// Times in the reader's time zone, a new page each minute, and a warning when there is none.
"use strict";
(() => {
  const EVERY_MS = 60000;
  const OLD_MS = 600000;

  function localize() {
    const now = Date.now();
    for (const one of document.querySelectorAll("time")) {
      const at = new Date(one.dateTime);
      const recent = Math.abs(now - at) < 12 * 3600000 && one.id !== "made";
      const clock = { hour: "2-digit", minute: "2-digit" };
      const date = { day: "numeric", month: "short", ...clock };
      one.title = one.dateTime;
      one.textContent = at.toLocaleString(document.documentElement.lang, recent ? clock : date);
    }
  }

  function warn(now, lost) {
    const made = new Date(document.getElementById("made").dateTime);
    document.getElementById("old").hidden = now - made < OLD_MS;
    document.getElementById("lost").hidden = !lost;
  }

  // What the reader opened, closed, focuses or selected stays as it is.
  function replace(page) {
    if (!document.getSelection().isCollapsed) return;
    const focused = document.activeElement && document.activeElement.id;
    const within = document.activeElement && document.activeElement.closest("details");
    const open = {};
    for (const one of document.querySelectorAll("details")) open[one.id] = one.open;
    for (const name of ["title", "main", "footer"]) {
      document.querySelector(name).replaceWith(page.querySelector(name));
    }
    for (const one of document.querySelectorAll("details")) {
      if (one.id in open) one.open = open[one.id];
    }
    const next = document.getElementById(focused || (within && within.id));
    const target = next && next.tagName === "DETAILS" ? next.querySelector("summary") : next;
    if (target && target !== document.activeElement) target.focus({ preventScroll: true });
  }

  async function look() {
    let now = Date.now();
    let lost = false;
    try {
      const answer = await fetch(location.pathname, { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      // The server's clock, as the reader's may be wrong.
      now = Date.parse(answer.headers.get("Date")) || now;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const made = page.getElementById("made");
      if (made && made.dateTime !== document.getElementById("made").dateTime) {
        replace(page);
        localize();
      }
    } catch {
      lost = true;
    }
    warn(now, lost);
  }

  localize();
  look();
  setInterval(look, EVERY_MS);
  // A tab in the background may have slept.
  addEventListener("focus", look);
})();
