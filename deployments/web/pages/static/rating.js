// Rating and tags by keyboard.
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey) return;
  if (/^[0-5]$/.test(event.key)) {
    document.querySelector(`[data-rating] button[value="${event.key}"]`)?.click();
  } else if (event.key === "t") {
    event.preventDefault();
    document.querySelector("[name=add_tag]")?.focus();
  }
});
