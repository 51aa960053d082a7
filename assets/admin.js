// Small things that HTML does not do by itself. No page needs it.
"use strict";

// <button data-copy="ID"> copies the text of the element with that id.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  if (!source) return;
  await navigator.clipboard.writeText(source.value ?? source.textContent);
  button.textContent = "Copied";
});

// What is wrong comes first.
document.querySelector("[aria-invalid=true]")?.focus();
