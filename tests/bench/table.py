"""What is said about the figures: the table, bench.json, and the text that docs/BENCH.md gets."""

import json
import os
import statistics

import landfall_test as lt

# The tables of docs/BENCH.md, and how the keys of their rows begin.
TABLES = {"encrypted": "crypt_", "api": "api_", "figures": ""}


def beside(row, figures, ours):
    """The others' figures, each with how many times as fast Landfall is."""
    for column, value in figures.items():
        if column != row.ours:
            ratio = f", {value / ours:.2f} ×" if ours and row.compared else ""
            yield f"{column} {row.shown(value)}{ratio}"


def judged(row, bounds, figures):
    for bound in bounds:
        judgement = bound.judge(figures.get(row.ours), figures, row.shown)
        verdict = "not measured" if judgement is None else f"{judgement[0]}, {'met' if judgement[1] else '**not met**'}"
        yield f"{bound.text}: {verdict}"


def lines(rows, results):
    yield "| | Landfall | beside it | must reach | aim |"
    yield "|---|---|---|---|---|"
    for row in rows:
        figures = row.figures(results)
        if figures:
            ours = figures.get(row.ours)
            yield f"| {row.title} | {'—' if ours is None else row.shown(ours)} | {'; '.join(beside(row, figures, ours)) or '—'} | " \
                f"{'; '.join(judged(row, row.must, figures)) or '—'} | {'; '.join(judged(row, row.aim, figures)) or '—'} |"


def spread(rows, results):
    """How far the rounds lie apart, at worst: a ratio closer to 1 than this says nothing."""
    found = [(max(values) / min(values), row.title, column) for row in rows for column, values in results.get(row.key, {}).items()
             if len(values) > 1 and min(values) > 0]
    if not found:
        return "One round: nothing is known of how far rounds lie apart."
    worst = max(found)
    return f"Slowest round against the quickest, at worst: {worst[0]:.2f} ({worst[1]}, {worst[2]}); median of all figures " \
           f"{statistics.median(w for w, _, _ in found):.2f}."


def table_of(row):
    return next(name for name, prefix in TABLES.items() if row.key.startswith(prefix))


def document(about, rows, results):
    measured = {column for row in rows for column in results.get(row.key, {})}
    yield f"Measured {about['date']}, rounds: {about['rounds']}. Machine: {about['machine']}. Server: {about['server']}."
    yield ""
    for name, system in about["systems"].items():
        if name in measured:
            yield f"* {name} {system['version']}: {system['settings']}; {system['cloud']}."
    for name, what in about["references"].items():
        if name in measured:
            yield f"* {name}: {what}."
    yield ""
    yield from lines(rows, results)
    yield ""
    yield spread(rows, results)
    if about["failures"]:
        yield ""
    for failure in about["failures"]:
        yield f"* Failed: {failure}."


def documents(about, rows, results):
    """The name of each table that there are rows of, and its text."""
    for name in TABLES:
        own = [row for row in rows if table_of(row) == name]
        if any(row.key in results for row in own):
            yield name, "\n".join(document(about, own, results)) + "\n"


def insert(name, text):
    """In the place of what docs/BENCH.md has for that table."""
    path, markers = os.path.join(lt.SOURCE, "docs", "BENCH.md"), (f"<!-- {name}: begin -->", f"<!-- {name}: end -->")
    with open(path) as f:
        before, begin, rest = f.read().partition(markers[0])
    _, end, after = rest.partition(markers[1])
    assert begin and end, f"{path} does not have the lines {markers[0]} and {markers[1]}"
    with open(path, "w") as f:
        f.write(f"{before}{begin}\n{text}{end}{after}")


def judgements(bounds, row, figures):
    for bound in bounds:
        found = bound.judge(figures.get(row.ours), figures, row.shown)
        yield {"requirement": bound.text, "found": found and found[0], "met": found and found[1]}


def write_json(path, about, rows, results):
    described = {row.key: {
        "title": row.title, "figures": row.figures(results),
        "rounds": results[row.key], "must": list(judgements(row.must, row, row.figures(results))),
        "aim": list(judgements(row.aim, row, row.figures(results)))} for row in rows if row.key in results}
    with open(path, "w") as f:
        json.dump({**about, "rows": described}, f, indent=1, ensure_ascii=False)
        f.write("\n")
