// @ts-check
// A classic script in the head: it must run before the first paint, so that no theme ever flashes. "auto" follows the system.
(() => {
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return window.localStorage.getItem("gatehouse.theme") ?? "auto";
    } catch {
      return "auto"; // storage may be forbidden; the system's choice is still right
    }
  };
  const apply = () => {
    const theme = chosen();
    document.documentElement.dataset.theme = theme === "auto" ? (system.matches ? "dark" : "light") : theme;
    window.dispatchEvent(new Event("gatehouse:theme"));
  };
  system.addEventListener("change", apply);
  window.addEventListener("gatehouse:choose-theme", apply);
  apply();
})();
