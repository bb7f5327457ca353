// Elements, made from data: text is set as text, never as markup.

export const byId = (id) => document.getElementById(id);

/** A new element; properties such as `className` and `textContent` are set as given. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Text for those who hear the page. */
export const heard = (text) => make("span", { className: "heard", textContent: text });

/** Calls `act` once nobody has called for `ms` milliseconds; `.cancel()` forgets a call that waits. */
export function afterPause(ms, act) {
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(act, ms);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}
