// Buttons that copy a text.

const SHOWN = 1500;

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "✓";
    } catch {
      button.textContent = "✕";
    }
    setTimeout(() => (button.textContent = before), SHOWN);
  });
}
