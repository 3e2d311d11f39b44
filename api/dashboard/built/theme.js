// Before the first paint: the theme that was chosen in this browser.
try {
  const theme = localStorage.getItem("runfleet.theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is forbidden: the system's theme it is.
}
