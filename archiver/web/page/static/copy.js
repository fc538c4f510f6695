// Buttons that copy a text.

const SHOWN = 1500;

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.dataset.done = "✓";
    } catch {
      button.dataset.done = "✕";
    }
    setTimeout(() => delete button.dataset.done, SHOWN);
  });
}
