/* SPDX-License-Identifier: Apache-2.0
 *
 * The page shows what virt-guard's own commands say, and changes waivers by `virt-guard waiver` alone. What comes from a
 * domain (names, evidence) is untrusted: it becomes text nodes, and arguments behind "--", never HTML or a shell's text.
 */
"use strict";

const _ = cockpit.gettext;
const COMMAND = "/usr/bin/virt-guard";
/* What the commands say follows the language of Cockpit; a locale that the host lacks must not cost them UTF-8. */
const isJapanese = /^ja(?![a-z])/i.test(cockpit.language);
const LOCALE = isJapanese
    ? ["LC_ALL=", "LC_CTYPE=C.UTF-8", "LC_MESSAGES=ja_JP.UTF-8", "LANG=ja_JP.UTF-8", "LANGUAGE="]
    : ["LC_ALL=C.UTF-8", "LANGUAGE="];
const OF_RULES = isJapanese ? ["--language=ja"] : []; // of JSON, the locale alone changes nothing
const FIRST_ROWS = 100; // of a long table, until all are asked for
const CHUNK = 50; // rows made at once, so that a thousand do not freeze the browser
const FEW = 5; // names that stand in a cell

const byId = id => document.getElementById(id);
const state = { rules: new Map(), domains: new Map(), filters: {}, isAdmin: false, isApplying: false, reading: 0, again: false };

function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties))
        name.includes("-") || name === "role" ? made.setAttribute(name, value) : made[name] = value;
    made.append(...children);
    return made;
}

/* Fulfilled with the exit status and both texts; exit statuses of virt-guard are answers, not failures. */
function run(argv, superuser) {
    const options = { superuser, err: "message", environ: LOCALE };
    return new Promise((resolve, reject) => {
        cockpit.spawn([COMMAND, ...argv], options)
            .then(out => resolve({ status: 0, out, err: "" }))
            .catch((error, out) => {
                if (error.problem)
                    reject(new Error(error.problem === "not-found" ? _("virt-guard is not installed") : error.message));
                else
                    resolve({ status: error.exit_status, out: out || "", err: error.message || "" });
            });
    });
}

async function objects(argv) {
    const { status, out, err } = await run([...argv, "--format", "jsonl"], "try");
    const rows = out.split("\n").filter(line => line).map(line => JSON.parse(line));
    return { rows, err: status === 2 ? err : "" };
}

/* --- what is shown --- */

/* Rows are {text, cells}: `cells` makes those of a row when it is shown, `text` is what the filter looks through. */
function table(id, titles, rows, more) {
    let wanted = rows;
    let turn = 0;
    const head = element("tr", { role: "row" }, ...titles.map(title =>
        element("th", { scope: "col", role: "columnheader" }, title)));
    const body = element("tbody", { role: "rowgroup" });
    const told = element("p", { className: "dim", role: "status" });
    const all = element("button", { type: "button" });
    const line = row => element("tr", { role: "row" }, ...row.cells().slice(0, titles.length).map((cell, i) =>
        element("td", { role: "cell", "data-label": titles[i] }, ...[].concat(cell))));

    async function show(end) {
        const mine = ++turn;
        do {
            const from = body.rows.length;
            body.append(...wanted.slice(from, Math.min(from + CHUNK, end)).map(line));
            const left = wanted.length - body.rows.length;
            all.hidden = left === 0;
            all.textContent = cockpit.format(_("Show all $0"), wanted.length);
            told.textContent = [
                ...(left || wanted !== rows ? [cockpit.format(_("Shown: $0 of $1"), body.rows.length, rows.length)] : []),
                ...(more ? [cockpit.format(_("and $0 more"), more)] : []),
            ].join("; ");
            if (body.rows.length >= Math.min(end, wanted.length))
                return;
            await new Promise(resolve => setTimeout(resolve));
        } while (mine === turn);
    }

    function select(text) {
        state.filters[id] = text;
        const words = text.toLowerCase().split(/\s+/).filter(word => word);
        wanted = words.length ? rows.filter(row => words.every(word => row.text.toLowerCase().includes(word))) : rows;
        body.replaceChildren();
        show(FIRST_ROWS);
    }

    all.addEventListener("click", () => {
        const next = body.rows.length;
        show(wanted.length);
        (body.rows[next].querySelector("summary, button") || byId(id + "-title")).focus(); // the button goes
    });
    const filter = element("input", { type: "search", value: state.filters[id] || "", "aria-label": _("Filter by domain or rule"), placeholder: _("Filter by domain or rule") });
    filter.addEventListener("input", () => select(filter.value));
    filter.hidden = rows.length <= FEW && !filter.value;
    select(filter.value);
    return [
        filter,
        element("table", { role: "table", "aria-labelledby": id + "-title" },
                element("thead", { role: "rowgroup" }, head), body),
        told, all,
    ];
}

const paragraph = (text, className) => element("p", { className: className || "" }, text);

function moment(text) {
    const date = new Date(text);
    return isNaN(date) ? String(text || "") : date.toLocaleString(cockpit.language.replace("_", "-"));
}

function ruleName(id) {
    const rule = state.rules.get(id);
    return rule ? id + ": " + rule.title : id;
}

function explained(id) {
    const rule = state.rules.get(id);
    const parts = [element("strong", {}, ruleName(id))];
    if (rule && rule.why)
        parts.push(paragraph(rule.why));
    if (rule && rule.remedy)
        parts.push(paragraph(_("Remedy:") + " " + rule.remedy));
    return element("li", {}, ...parts);
}

/* What a person opens: `items` makes it then. */
function details(summary, items) {
    const list = element("ul");
    const made = element("details", {}, element("summary", {}, summary), list);
    made.addEventListener("toggle", () => list.firstChild || list.append(...items()));
    return made;
}

function names(all) {
    if (all.length <= FEW)
        return all.join(", ");
    return details(cockpit.format(_("$0 domains"), all.length), () => all.map(name => element("li", {}, name)));
}

const STATES = {
    amiss: _("The guard is not in force as it should be."),
    unknown: _("Not everything about the guard could be told."),
    note: _("The guard is in force, with remarks."),
    ok: _("The guard is in force."),
};

/* Each `show` is fulfilled with the parts of its section, and what the command complained of. */
async function showStatus() {
    const { rows, err } = await objects(["status"]);
    const headline = Object.keys(STATES).find(name => rows.some(row => row.state === name)) || "unknown";
    const describe = row => element("li", { className: row.state === "ok" ? "" : row.state },
        row.subject + ": " + row.text,
        ...(row.remedy && row.state !== "ok" ? [element("br"), _("To mend it:") + " ", element("code", {}, row.remedy)] : []));
    const fine = rows.filter(row => row.state === "ok");
    const others = rows.filter(row => row.state !== "ok");
    return { err, headline, parts: [
        ...(others.length ? [element("ul", {}, ...others.map(describe))] : []),
        ...(fine.length ? [details(cockpit.format(_("What is fine: $0"), fine.length), () => fine.map(describe))] : []),
    ] };
}

async function showRefused(rulesAreRead) {
    const { rows, err } = await objects(["report", "--since", "30 days ago"]);
    await rulesAreRead;
    const refused = rows.filter(row => (row.kind === "refused" || row.kind === "would-refuse") && row.domain);
    const left = rows.reduce((sum, row) =>
        sum + (["refused", "would-refuse"].includes(row.kind) && row["without-a-row"] || 0), 0);
    refused.sort((one, other) => new Date(other.last) - new Date(one.last));
    if (!refused.length)
        return { err, parts: [paragraph(_("None."))] };
    const titles = [_("Last"), _("Domain"), _("Rules"), _("Times"), ...(state.isAdmin ? [_("Change")] : [])];
    return { err, parts: table("refused", titles, refused.map(row => {
        const rules = row.denied || row.rules || [];
        return { text: row.domain + " " + rules.join(" "), cells: () => [
            moment(row.last),
            [row.domain, ...(row.kind === "refused" ? [] : [element("br"), element("span", { className: "dim" },
                _("admitted: mode audit"))])],
            rules.length ? details(rules.join(", "), () => rules.map(explained)) : row.message || "",
            String(row.count || 1),
            grantButton(row.domain, rules),
        ] };
    }), left) };
}

async function showNext(rulesAreRead) {
    const { rows, err } = await objects(["scan", "--next-boot", ...OF_RULES]);
    await rulesAreRead;
    const amiss = rows.filter(row => row.decision !== "admit");
    if (!amiss.length) {
        const text = err ? _("It could not be told.") : cockpit.format(_("Nothing. Domains judged, which run or start with the host: $0"), rows.length);
        return { err, parts: [paragraph(text)] };
    }
    const describe = finding => element("li", { className: finding.status === "deny" ? "deny" : "" },
        finding.rule + ": " + finding.message,
        element("br"), element("code", {}, finding.evidence || finding.path || ""),
        ...(finding.remedy ? [element("br"), _("Remedy:") + " " + finding.remedy] : []));
    const titles = [_("Domain"), _("Why"), ...(state.isAdmin ? [_("Change")] : [])];
    return { err, parts: table("next", titles, amiss.map(row => {
        const findings = row.findings.filter(finding => finding.status !== "warn" && finding.status !== "waived");
        const rules = [...new Set(findings.map(finding => finding.rule))];
        return { text: (row.domain || row.source) + " " + rules.join(" "), cells: () => [
            row.domain || row.source,
            row.error || details(rules.join(", "), () => findings.map(describe)),
            grantButton(row.domain, rules),
        ] };
    })) };
}

/* A domain of a waiver is a name, a UUID or a pattern, or an object with both. */
const domainText = domain => typeof domain === "string" ? domain : domain.name + " (" + domain.uuid + ")";

async function showWaivers() {
    const { rows, err } = await objects(["waiver", "list"]);
    if (!rows.length)
        return { err, parts: [paragraph(_("None."))] };
    const titles = [_("Domains"), _("Rules"), _("Reason"), _("Last day"), _("Used by"), ...(state.isAdmin ? [_("Change")] : [])];
    return { err, parts: table("waivers", titles, rows.map(row => ({
        text: [...row.domains.map(domainText), ...row.rules].join(" "),
        cells: () => [
            names(row.domains.map(domainText)),
            row.rules.join(", "),
            [row.reason || "", ...(row.ticket ? [element("br"), element("span", { className: "dim" }, row.ticket)] : [])],
            [row.expires || "", element("br"), element("span", {
                className: row["days-left"] < 0 ? "amiss" : row["days-left"] < 14 ? "unknown" : "dim",
            }, row["days-left"] < 0 ? _("expired") : cockpit.format(_("days left: $0"), row["days-left"]))],
            row["used-by"] === null ? "" : row["used-by"].length ? names(row["used-by"]) : _("nothing"),
            changeButtons(row),
        ],
    }))) };
}

async function readRules() {
    const { rows } = await objects(["rules", ...OF_RULES]);
    state.rules = new Map(rows.map(rule => [rule.rule, rule]));
}

async function readDomains() {
    const { rows } = await objects(["scan", "--denied"]);
    state.domains = new Map(rows.filter(row => row.domain).map(row =>
        [row.domain, row.findings.filter(finding => finding.status === "deny").map(finding => finding.rule)]));
    byId("domains").replaceChildren(...[...state.domains.keys()].map(name => element("option", { value: name })));
}

/* --- what is changed --- */

/* To a reader of the screen, the buttons of a table differ by their domain. */
function rowButton(text, domain, pressed) {
    const button = element("button", { type: "button", "aria-label": text + " " + domain }, text);
    button.addEventListener("click", pressed);
    return button;
}

function grantButton(domain, rules) {
    const waivable = rules.filter(id => state.rules.has(id) && state.rules.get(id).waivable);
    if (!state.isAdmin || !domain || !waivable.length)
        return "";
    return rowButton(_("Waive…"), domain, () => ask("add", [domain], waivable));
}

function changeButtons(waiver) {
    if (!state.isAdmin || !waiver.domains.length)
        return "";
    const first = domainText(waiver.domains[0]);
    return [
        rowButton(_("Renew…"), first, () => ask("renew", waiver.domains, waiver.rules, waiver)),
        rowButton(_("Remove…"), first, () => ask("remove", waiver.domains, waiver.rules, waiver)),
    ];
}

const TITLES = { add: _("Grant a waiver"), renew: _("Renew a waiver"), remove: _("Remove a waiver") };
const VERBS = { add: _("Grant"), renew: _("Renew"), remove: _("Remove") };

function dayFromNow(days) {
    const date = new Date();
    date.setDate(date.getDate() + days);
    return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(n => String(n).padStart(2, "0")).join("-");
}

function showRulesOf(offered, chosen) {
    const boxes = offered.map(id => element("label", {},
        element("input", { type: "checkbox", name: "rule", value: id, checked: chosen.includes(id) }), " ", ruleName(id)));
    byId("rules").replaceChildren(byId("rules").firstElementChild, ...boxes);
}

function ask(verb, domains, rules, waiver) {
    const [domain, ...others] = domains.map(each => typeof each === "string" ? each : each.name);
    const form = byId("form");
    form.reset();
    form.dataset.verb = verb;
    byId("dialog-title").textContent = TITLES[verb];
    byId("apply").textContent = VERBS[verb];
    byId("domain").value = domain || "";
    byId("domain").readOnly = verb !== "add";
    state.others = others;
    byId("others").textContent = others.join(", ");
    const all = [...state.rules.values()].filter(rule => rule.waivable && rule.action === "deny").map(rule => rule.rule);
    showRulesOf(verb === "add" ? [...new Set([...rules, ...all])] : rules, rules);
    byId("until").value = dayFromNow(30);
    byId("reason").required = verb === "add";
    byId("reason").value = waiver && waiver.reason || "";
    byId("ticket").value = waiver && waiver.ticket || "";
    for (const row of ["until", "reason", "ticket"]) {
        byId(row + "-row").hidden = verb === "remove";
        byId(row).disabled = verb === "remove";
    }
    byId("said").hidden = true;
    const opener = document.activeElement.closest("section");
    state.title = opener ? opener.querySelector("h2") : byId("waivers-title");
    byId("dialog").showModal();
    byId({ add: domain ? "reason" : "domain", renew: "until", remove: "cancel" }[verb]).focus();
}

async function apply(event) {
    event.preventDefault();
    const form = byId("form");
    const verb = form.dataset.verb;
    const rules = [...form.querySelectorAll("input[name=rule]:checked")].map(box => box.value);
    const say = text => {
        byId("said").textContent = text;
        byId("said").hidden = !text;
    };
    if (!rules.length)
        return say(_("Choose at least one rule."));
    const argv = ["waiver", verb];
    if (verb !== "remove") {
        argv.push("--until=" + byId("until").value);
        for (const name of ["reason", "ticket"])
            if (byId(name).value)
                argv.push("--" + name + "=" + byId(name).value);
        if (state.user)
            argv.push("--approved-by=" + state.user);
    }
    for (const other of state.others)
        argv.push("--domain=" + other);
    if (state.isApplying)
        return undefined;
    setApplying(true);
    say("");
    try {
        const { status, out, err } = await run([...argv, "--", byId("domain").value, ...rules], "require");
        if (status !== 0)
            return say(err.trim() || cockpit.format(_("Exit status $0"), status));
        byId("dialog").close();
        byId("done").textContent = out.trim();
    } catch (error) {
        return say(error.message);
    } finally {
        setApplying(false);
    }
    await showAll();
    if (document.activeElement === document.body) // what opened the form has been replaced
        state.title.focus();
    return undefined;
}

/* Not `disabled`: a button that is loses the focus. */
function setApplying(isApplying) {
    state.isApplying = isApplying;
    for (const id of ["apply", "cancel"])
        byId(id).setAttribute("aria-disabled", isApplying);
}

/* Of its own, a dialog in a frame lets the focus out into the page around. */
function keepFocus(event) {
    if (event.key !== "Tab")
        return;
    const stops = [...byId("form").querySelectorAll("input, button")].filter(each => !each.disabled && each.offsetParent);
    const [from, to] = event.shiftKey ? [stops[0], stops[stops.length - 1]] : [stops[stops.length - 1], stops[0]];
    if (document.activeElement === from) {
        event.preventDefault();
        to.focus();
    }
}

/* --- the page --- */

async function section(id, reading, show) {
    let shown;
    try {
        shown = await show();
    } catch (error) {
        shown = { parts: [], err: error.message };
    }
    if (reading !== state.reading) // asked again meanwhile
        return;
    byId(id).replaceChildren(...shown.parts, ...(shown.err ? [element("pre", { className: "unknown" }, shown.err.trim())] : []));
    if (id === "status") {
        const headline = shown.headline || "unknown";
        byId("headline").className = "state " + headline;
        byId("headline").textContent = STATES[headline];
    }
}

async function showAll() {
    const reading = ++state.reading;
    state.again = false;
    document.body.setAttribute("aria-busy", true);
    const rulesAreRead = readRules();
    rulesAreRead.catch(() => undefined); // who waits for them tells
    await Promise.all([
        section("status", reading, showStatus),
        section("refused", reading, () => showRefused(rulesAreRead)),
        section("next", reading, () => showNext(rulesAreRead)),
        section("waivers", reading, showWaivers),
    ]);
    if (reading !== state.reading)
        return;
    if (state.again) {
        showAll();
    } else {
        document.body.setAttribute("aria-busy", false);
        document.body.dataset.shown = "yes";
    }
}

/* Cockpit's own switch between light and dark. */
function followStyle() {
    document.documentElement.dataset.style = localStorage.getItem("shell:style") || "auto";
}

function begin() {
    cockpit.translate();
    document.documentElement.lang = cockpit.language.replace("_", "-");
    byId("headline").textContent = _("Reading…");
    followStyle();
    window.addEventListener("storage", followStyle);
    cockpit.user().then(user => { state.user = user.name; });
    const permission = cockpit.permission({ admin: true });
    const told = () => {
        state.isAdmin = permission.allowed === true;
        byId("limited").hidden = permission.allowed !== false;
        byId("grant").hidden = !state.isAdmin;
        if (!state.isAdmin)
            byId("dialog").close();
        showAll();
    };
    permission.addEventListener("changed", told);
    if (permission.allowed !== null)
        told();
    byId("reload").addEventListener("click", () => {
        byId("done").textContent = "";
        state.again = document.body.getAttribute("aria-busy") === "true"; // once, however often it is asked for
        if (!state.again)
            showAll();
    });
    byId("grant").addEventListener("click", () => {
        ask("add", [], []);
        readDomains().catch(() => undefined); // a name can be typed without them
    });
    byId("cancel").addEventListener("click", () => state.isApplying || byId("dialog").close());
    byId("dialog").addEventListener("cancel", event => state.isApplying && event.preventDefault());
    byId("dialog").addEventListener("keydown", keepFocus);
    byId("form").addEventListener("submit", apply);
    byId("domain").addEventListener("change", event => {
        const denied = (state.domains.get(event.target.value) || []).filter(id =>
            state.rules.has(id) && state.rules.get(id).waivable);
        const all = [...state.rules.values()].filter(rule => rule.waivable && rule.action === "deny").map(rule => rule.rule);
        showRulesOf([...new Set([...denied, ...all])], denied);
    });
}

begin();
