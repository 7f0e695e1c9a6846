// SPDX-License-Identifier: GPL-2.0-or-later
// The table of connections. DataTables sorts, searches and filters it; a row opens its ladder.
// A browser without scripts shows the plain table instead, which has the same rows.
const { rows, failed, mark, words } = JSON.parse(document.getElementById("data").textContent);

const OPENING = 5, CLOSING = 7, CLOSER = 8, CELLS = document.querySelectorAll("#table th").length;
const START = CELLS, END = CELLS + 1, HANDSHAKE = CELLS + 2;
const SORTED_BY = { 3: START, 6: HANDSHAKE, 9: CELLS + 3, 10: CELLS + 4 };
const VALUES = { establishment: OPENING, termination: CLOSING, closed_by: CLOSER };
const RANGES = { start: START, end: END, handshake: HANDSHAKE };

const escaped = (text) => {
    const place = document.createElement("span");
    place.textContent = text;
    return place.innerHTML;
};

const shown = (column) => (data, kind, row) => {
    if (kind === "sort" || kind === "type") {
        if (column === 0) return Number(data);
        if (column === 4) return row[END] - row[START];
        return column in SORTED_BY ? (row[SORTED_BY[column]] ?? -1) : data;
    }
    if (kind !== "display") return data;
    return column === OPENING && failed.includes(data) ? `<span class="bad">${mark} ${escaped(data)}</span>` : escaped(data);
};

const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = () => document.documentElement.classList.toggle("dark", dark.matches);
dark.addEventListener("change", colour);
colour();

document.getElementById("live").hidden = false;
const table = new DataTable("#table", {
    data: rows,
    columns: Array.from({ length: CELLS }, (_, column) => ({ data: column, render: shown(column) })),
    autoWidth: false,
    language: words.table,
    lengthMenu: [25, 100, 1000],
    order: [],
    pageLength: 25,
    createdRow: (row, data) => {
        row.id = `row-${data[0]}`;
        row.tabIndex = 0;
        row.setAttribute("aria-label", `${words.open} ${data[0]}`);
        row.setAttribute("aria-expanded", "false");
    },
});

// A row opens the ladder of its connection.

const detail = (stream) => {
    const drawn = document.getElementById(`ladder-${stream}`);
    const place = document.createElement("div");
    if (drawn) {
        place.append(...drawn.cloneNode(true).children);
        place.querySelector('a[href^="#row-"]')?.remove();
    } else {
        const command = document.createElement("code");
        command.className = "copy";
        command.textContent = `pybridge ladder FILE ${stream} -o ladder.svg`;
        place.append(`${words.not_drawn} `, command);
    }
    return place;
};

const toggle = (element, open) => {
    const row = table.row(element);
    open ? row.child(detail(row.data()[0]), "detail").show() : row.child.hide();
    element.classList.toggle("open", open);
    element.setAttribute("aria-expanded", open);
};

const rowOf = (event) => event.target.closest("#table > tbody > tr[id]");
table.on("click", "tbody tr", (event) => {
    const row = rowOf(event);
    if (row && !getSelection().toString()) toggle(row, !row.classList.contains("open"));
});
table.on("keydown", "tbody tr", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    if (event.target !== rowOf(event)) return;
    event.preventDefault();
    toggle(event.target, !event.target.classList.contains("open"));
});

// A link to a row turns to the page that has the row.

const follow = () => {
    const stream = /^#row-(\d+)$/.exec(location.hash)?.[1];
    if (stream === undefined) return;
    pick(null);
    table.search("").draw();
    const place = table.rows({ order: "applied" }).data().toArray().findIndex((row) => row[0] === stream);
    if (place < 0) return;
    table.page(Math.floor(place / table.page.len())).draw("page");
    const row = document.getElementById(`row-${stream}`);
    toggle(row, true);
    row.scrollIntoView();
    row.focus({ preventScroll: true });
};
addEventListener("hashchange", follow);

// A bar of a chart filters the table: only its connections are shown.

const note = document.querySelector(".picked");
let chosen = null;

const matches = (row, [column, wanted]) =>
    column in VALUES
        ? wanted.includes(row[VALUES[column]])
        : row[RANGES[column]] !== null && row[RANGES[column]] >= wanted[0] && row[RANGES[column]] < wanted[1];

const pick = (bar) => {
    chosen?.setAttribute("aria-pressed", "false");
    chosen = bar === chosen ? null : bar;
    chosen?.setAttribute("aria-pressed", "true");
    note.hidden = !chosen;
    if (chosen) {
        const conditions = Object.entries(JSON.parse(chosen.dataset.pick));
        const all = document.createElement("button");
        all.textContent = words.all;
        all.addEventListener("click", () => pick(null));
        note.replaceChildren(`${words.picked} ${chosen.querySelector("title").textContent} `, all);
        table.search.fixed("chart", (_text, row) => conditions.every((condition) => matches(row, condition))).draw();
        document.getElementById("connections").scrollIntoView();
    } else {
        table.search.fixed("chart", null).draw();
    }
};

for (const bar of document.querySelectorAll(".pick")) {
    bar.setAttribute("tabindex", "0");
    bar.setAttribute("role", "button");
    bar.setAttribute("aria-pressed", "false");
    bar.addEventListener("click", () => pick(bar));
    bar.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        pick(bar);
    });
}

// A click on a filter copies it.

addEventListener("click", async (event) => {
    const code = event.target.closest?.("code.copy");
    if (!code) return;
    event.stopPropagation();
    await navigator.clipboard?.writeText(code.textContent);
    code.title = words.copied;
}, true);

// All rows are printed, up to a limit.

const PRINTED = 1000;
let before = 25;
addEventListener("beforeprint", () => {
    before = table.page.len();
    table.page.len(PRINTED).draw();
});
addEventListener("afterprint", () => table.page.len(before).draw());

follow();
