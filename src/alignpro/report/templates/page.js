"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    // textContent alone: prompts and answers are never read as markup.
    if (text !== undefined) node.textContent = text;
    return node;
  };

  const root = document.documentElement;
  const theme = byId("theme");
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (systemIsDark.matches ? "dark" : "light")) === "dark";
  const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  const asked = location.hash.slice(1);
  if (asked === "dark" || asked === "light") root.dataset.theme = asked;
  theme.hidden = false;
  theme.setAttribute("aria-label", "Switch between light and dark");
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
  systemIsDark.addEventListener("change", nameTheme);
  nameTheme();

  if (!byId("examples-data")) return;
  const { head, prompts } = JSON.parse(byId("examples-data").textContent);
  const PAGE = 10;
  const LONG = 900;
  const NONE = "";
  const armNames = head.arms.map((arm) => arm.name);
  const armOf = (name) => head.arms.find((arm) => arm.name === name);
  const state = { search: "", a: NONE, b: NONE, sort: "file", filter: "all", page: 0 };
  state.a = armNames.includes("align_pro") ? "align_pro" : armNames[armNames.length - 1];
  state.b = ["no_prompter", ...armNames].find((name) => armNames.includes(name) && name !== state.a) ?? NONE;

  const figure = (value, [decimals, power], signed) => {
    if (value === null || value === undefined) return "–";
    const text = (Math.abs(value) / 10 ** power).toFixed(decimals);
    const sign = Number(text) === 0 ? "" : value < 0 ? "−" : signed ? "+" : "";
    return sign + text + (power === 0 ? "" : `e${power}`.replace("-", "−"));
  };
  const [OF_REWARD, OF_SECOND] = head.forms;
  const gap = (entry, key) => {
    const a = entry.arms[state.a]?.[key] ?? null;
    if (state.b === NONE) return a;
    const b = entry.arms[state.b]?.[key] ?? null;
    return a === null || b === null ? null : a - b;
  };
  const haystack = (entry) => {
    const texts = [entry.x, entry.before ?? "", entry.row ?? ""];
    for (const name of [state.a, state.b]) {
      const answer = entry.arms[name];
      if (answer) texts.push(answer.rewrite ?? "", answer.y);
    }
    return texts.join("\n").toLowerCase();
  };

  const FILTERS = {
    all: { say: () => "All", keep: () => true },
    wins: { say: () => `${armOf(state.a).label} higher`, keep: (d) => d > 0 },
    losses: { say: () => `${armOf(state.b).label} higher`, keep: (d) => d < 0 },
    equal: { say: () => "Equal", keep: (d) => d === 0 },
    none: { say: () => "No reward", keep: (d) => d === null },
  };
  const keepBy = (name) => (entry) => {
    const d = gap(entry, "mean");
    return FILTERS[name].keep(d) && (d !== null || name === "all" || name === "none");
  };

  const options = (select, pairs, chosen) => {
    select.replaceChildren(...pairs.map(([value, text]) => {
      const option = make("option", "", text);
      option.value = value;
      option.selected = value === chosen;
      return option;
    }));
  };
  const drawSorts = () => {
    const of = state.b === NONE ? "" : "A − B by ";
    const sorts = [["file", "order of the file"], ["low", `${of}${head.reward}, lowest first`], ["high", `${of}${head.reward}, highest first`]];
    if (head.second) sorts.push(["slow", `${of}${head.second}, lowest first`], ["shigh", `${of}${head.second}, highest first`]);
    options(byId("sort"), sorts, state.sort);
  };
  const drawFilters = (found) => {
    const shown = state.b === NONE ? ["all", "none"] : Object.keys(FILTERS);
    const box = byId("filters");
    const focused = box.contains(document.activeElement);
    box.replaceChildren(box.firstElementChild, ...shown.map((name) => {
      const label = make("label");
      const radio = make("input");
      radio.type = "radio";
      radio.name = "filter";
      radio.value = name;
      radio.checked = name === state.filter;
      label.append(radio, make("span", "", `${FILTERS[name].say()} ${found.filter(keepBy(name)).length}`));
      return label;
    }));
    if (focused) box.querySelector(":checked")?.focus();
  };

  const addText = (box, kind, text) => {
    box.append(make("p", "kind", kind));
    const body = make("div", "text", text);
    body.dir = "auto";
    box.append(body);
    if (text.length <= LONG && text.split("\n").length <= 16) return;
    body.classList.add("long");
    const button = make("button", "unfold", "Show all");
    button.type = "button";
    button.addEventListener("click", () => { button.textContent = body.classList.toggle("long") ? "Show all" : "Show less"; });
    box.append(button);
  };
  const drawAnswer = (entry, name) => {
    const arm = armOf(name);
    const answer = entry.arms[name];
    const box = make("section");
    box.style.setProperty("--arm", `var(--${arm.token})`);
    const title = make("h4");
    title.append(make("i", "mark", arm.glyph), arm.label);
    box.append(title);
    if (!answer) {
      box.append(make("p", "kind", "not answered by this arm"));
      return box;
    }
    const second = head.second && answer.s !== null ? ` · ${head.second} ${figure(answer.s, OF_SECOND)}` : "";
    const mean = answer.n > 1 ? ` · mean of ${answer.n} ${figure(answer.mean, OF_REWARD)}` : "";
    title.append(make("span", "", `reward ${figure(answer.r, OF_REWARD)}${mean}${second}`));
    if (answer.failure) box.append(make("p", "kind failure", `Failed: ${answer.failure}`));
    if (answer.rewrite === null) box.append(make("p", "kind", "Prompt sent as it is"));
    else addText(box, "Rewritten prompt x′", answer.rewrite);
    addText(box, answer.cut ? "Answer y, cut off at its length limit" : "Answer y", answer.y);
    return box;
  };
  const drawEntry = (entry) => {
    const box = make("article", "example");
    const top = make("header");
    top.append(make("span", "", `Original prompt x · ${entry.id}`));
    if (state.b !== NONE) {
      const differences = make("span", "", "A − B, means: ");
      differences.append(make("b", "", `${figure(gap(entry, "mean"), OF_REWARD, true)} ${head.reward}`));
      if (head.second) differences.append(make("span", "", ` · ${figure(gap(entry, "smean"), OF_SECOND, true)} ${head.second}`));
      top.append(differences);
    }
    const prompt = make("div", "text prompt", entry.x);
    prompt.dir = "auto";
    const pair = make("div", "pair");
    pair.append(...[state.a, state.b].filter((name) => name !== NONE).map((name) => drawAnswer(entry, name)));
    box.append(top);
    if (entry.before) addText(box, "Said before x", entry.before);
    box.append(prompt);
    if (entry.row) addText(box, "Other columns of its row, which no model sees", entry.row);
    box.append(pair);
    return box;
  };

  const draw = () => {
    const query = state.search.trim().toLowerCase();
    const found = prompts.filter((entry) => !query || haystack(entry).includes(query));
    drawFilters(found);
    const kept = found.filter(keepBy(state.filter));
    if (state.sort !== "file") {
      const key = state.sort.startsWith("s") ? "smean" : "mean";
      const sign = state.sort.endsWith("high") ? -1 : 1;
      const rank = (entry) => gap(entry, key);
      // Entries without a reward come last whichever way the others run.
      kept.sort((p, q) => (rank(p) === null) - (rank(q) === null) || sign * (rank(p) - rank(q)));
    }
    const pages = Math.max(1, Math.ceil(kept.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    byId("rows").replaceChildren(...kept.slice(state.page * PAGE, (state.page + 1) * PAGE).map(drawEntry));
    byId("status").textContent = kept.length ? `${kept.length} of ${prompts.length} prompts` : "No prompt matches.";
    byId("page").textContent = `Page ${state.page + 1} of ${pages}`;
    byId("previous").disabled = state.page === 0;
    byId("next").disabled = state.page >= pages - 1;
  };
  const set = (key, value) => {
    state[key] = value;
    state.page = 0;
    if (key === "b") {
      if (value === NONE && state.filter !== "none") state.filter = "all";
      drawSorts();
    }
    draw();
  };
  const turn = (by) => { state.page += by; draw(); byId("examples").scrollIntoView(); };

  const choices = head.arms.map((arm) => [arm.name, arm.label]);
  options(byId("arm-a"), choices, state.a);
  options(byId("arm-b"), [...choices, [NONE, "none"]], state.b);
  drawSorts();
  byId("search").addEventListener("input", (event) => set("search", event.target.value));
  byId("arm-a").addEventListener("change", (event) => set("a", event.target.value));
  byId("arm-b").addEventListener("change", (event) => set("b", event.target.value));
  byId("sort").addEventListener("change", (event) => set("sort", event.target.value));
  byId("filters").addEventListener("change", (event) => set("filter", event.target.value));
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  draw();
})();
