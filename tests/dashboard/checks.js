// What is wrong with how a page is laid out: sentences, one for each fault; none when all is well.
() => {
  const faults = [];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0;
  const name = (element) => `<${element.tagName.toLowerCase()} class="${element.getAttribute("class") ?? ""}"> ${element.textContent.trim().slice(0, 40)}`;

  for (const element of [document.scrollingElement, document.querySelector("main")]) {
    if (element && element.scrollWidth > element.clientWidth) faults.push(`scrolls sideways: ${name(element)} ${element.scrollWidth} > ${element.clientWidth}`);
  }

  // Text may be cut off only where that is meant.
  const cutting = ".may-clip, .log, .why, .sr, dialog, nav[aria-label='Often wanted'], .bar, pre, .bars";
  for (const element of document.querySelectorAll("main *")) {
    if (!shown(element) || element.closest(cutting) || !element.textContent.trim()) continue;
    const style = getComputedStyle(element);
    if (style.overflowX !== "visible" && element.scrollWidth > element.clientWidth + 1) faults.push(`cut off: ${name(element)}`);
  }

  // Everything that is clicked is large enough, and stands clear of its neighbours.
  const targets = [...document.querySelectorAll("button, input:not([type=radio], [type=checkbox]), select, summary, .button")].filter(shown);
  const boxes = targets.map((target) => [target, target.getBoundingClientRect()]);
  for (const [target, box] of boxes) {
    if (target.closest(".log, .sr")) continue;
    if (box.width < 23.5 || box.height < 23.5) faults.push(`small: ${name(target)} ${Math.round(box.width)} × ${Math.round(box.height)}`);
    for (const [other, place] of boxes) {
      if (other === target || target.contains(other) || other.contains(target) || other.closest(".log") || target.closest(".bar") || other.closest("nav.rail") || target.closest("nav.rail")) continue;
      const over = Math.min(box.right, place.right) - Math.max(box.left, place.left) > 1 && Math.min(box.bottom, place.bottom) - Math.max(box.top, place.top) > 1;
      if (over) faults.push(`overlap: ${name(target)} and ${name(other)}`);
    }
  }

  if (document.querySelectorAll("h1").length !== 1) faults.push(`${document.querySelectorAll("h1").length} h1`);
  return faults;
};
