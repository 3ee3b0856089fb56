"""What session.json is written with: its catalog, its steps, and answers as that catalog makes them."""

from layout import answer, body, decision, error, frame, request

PLAN = "/internal/services/7001/plans/50/usagelimits"
LIMITS = [("1", "eternity", 10), ("1", "minute", 1000), ("3", "eternity", 100), ("4", "eternity", 0)]


def put_application(service, id_, plan, **more):
    application = {"state": "active", "plan_id": plan, "plan_name": f"Plan {plan}"} | more
    return ["PUT", f"/internal/services/{service}/applications/{id_}", {"application": application}]


def setup():
    """Services of each backend version and a suspended one; limits on an eternity, so that no clock matters."""
    for id_, version, more in [
        ("7001", "1", {}), ("7002", "2", {"referrer_filters_required": True}), ("7003", "oauth", {}),
        ("7004", "1", {"state": "suspended"}),
    ]:  # fmt: skip
        service = {"id": id_, "provider_key": "golden-provider", "backend_version": version} | more
        yield ["POST", "/internal/services/", {"service": service}]
        yield ["PUT", f"/internal/services/{id_}/metrics/1", {"metric": {"name": "hits"}}]
        yield [
            "POST",
            "/internal/service_tokens/",
            {"service_tokens": {f"golden-token-{id_}": {"service_id": id_}}},
        ]
    for id_, name, parent in [("2", "search", "1"), ("3", "bytes", None), ("4", "export", None)]:
        body_ = {"metric": {"name": name} | ({"parent_id": parent} if parent else {})}
        yield ["PUT", f"/internal/services/7001/metrics/{id_}", body_]
    for id_, period, max_ in LIMITS:
        yield ["PUT", f"{PLAN}/{id_}/{period}", {"usagelimit": {period: max_}}]
    for n in range(1, 7):
        yield put_application("7001", f"a{n}", "50", state="suspended" if n == 4 else "active")
        yield ["PUT", f"/internal/services/7001/applications/a{n}/key/uk-{n}", None]
    yield put_application("7002", "b1", "60")
    b1 = "/internal/services/7002/applications/b1"
    yield ["POST", f"{b1}/keys/", {"application_key": {"value": "secret-b1"}}]
    yield ["POST", f"{b1}/referrer_filters", {"referrer_filter": "*.example.org"}]
    yield put_application("7003", "c1", "70", redirect_url="https://example.org/back")
    yield put_application("7004", "d1", "80")
    yield ["PUT", "/internal/services/7004/applications/d1/key/uk-d", None]


def metric(name):
    """Its number, of which three bytes are captured: the fourth is zero here, or says that an amount is set."""
    return f"<{name}:3>00"


HITS, SEARCH, BYTES, EXPORT = map(metric, ["hits", "search", "bytes", "export"])
steps = []


def connect(**how):
    steps.append({"connect": how})


def call(*parts):
    """Changes the catalog in between; answers have a new version from here on."""
    steps.append({"call": list(parts)})


def version():
    """The catalog version: what it is does not matter, but it stays until a change."""
    return f"<catalog-{sum('call' in step for step in steps)}:8>"


def ask(name, sent, *expected, **more):
    """Sends a request (or several at once) and says what comes back."""
    sent = sent if isinstance(sent, list) else [sent]
    texts = [it if isinstance(it, str) else frame(it) for it in sent]
    steps.append({"name": name, "send": "".join(texts), "expect": [frame(it) for it in expected]} | more)


def loose(meaning):
    """Whatever fields come behind it."""
    return meaning | {"body": body(meaning) + "*"}


def refused(operation, status, id_=1, retry_ms=0):
    return loose(error(operation, status, id_, retry_ms))


def limited(operation, limit, maximum, count, remaining, marks=("COUNTED", "LIMIT"), **more):
    """A yes bound by a limit on an eternity."""
    more = {"reset_ms": "never", "catalog": version()} | more
    return decision(operation, limit=f"<limit-{limit}:8>", maximum=maximum, count=count, remaining=remaining,
                    marks=list(marks), **more)  # fmt: skip


def denied(operation, limit, maximum, count, **more):
    more = {"retry_ms": "never"} | more
    return limited(
        operation, limit, maximum, count, 0, ["LIMIT"], yes=False, reason="limits_exceeded", **more
    )


def free(operation, marks=("COUNTED",), **more):
    """A yes that no limit concerns."""
    return decision(operation, marks=list(marks), catalog=version(), **more)


def no(operation, reason, **more):
    return decision(operation, yes=False, reason=reason, remaining="?", catalog=version(), **more)


def receipt(operation, outcome="done", marks=("ON_DISK",), **more):
    return answer(operation, outcome=outcome, marks=list(marks), catalog=version(), **more)


def with_handle(operation, n, *rows, flags=(), fields=(), **more):
    return request(operation, flags=flags, fields=fields, rows=rows, handle=f"<a{n}:8>", **more)


def by_key(operation, n, *fields, **more):
    return request(operation, fields=[("USER_KEY", f"uk-{n}"), *fields], **more)


def bind(n, *names):
    """Binds application a`n` to a handle of that name, and metrics to theirs."""
    wanted = by_key("BIND", n, *[("METRIC", name) for name in names])
    rows = [{"metric": metric(name)} for name in names]
    ask(
        f"bind a{n}",
        wanted,
        answer("BIND", rows=rows, bound=True, reason=None, handle=f"<a{n}:8>", catalog=version()),
    )


def limit_row(limit, of, period, maximum, count, held=0, reset="never"):
    return {"limit": f"<limit-{limit}:8>", "metric": of, "period": period, "marks": [], "maximum": maximum,
            "count": count, "held": held, "reset_ms": reset}  # fmt: skip


def counts(of, n):
    """Usage of this session: since its beginning a minute, hour or day may have ended."""
    return dict.fromkeys(["eternity", "year", "month", "week"], n) | {
        "metric": of,
        "day": "?",
        "hour": "?",
        "minute": "?",
    }


def query(name, n, of, rows, reservations=0, active=True):
    named = [("METRIC", {"metric": metric(of), "name": of})]
    ask(
        name,
        by_key("QUERY", n, ("METRIC", of)),
        answer(
            "QUERY",
            rows=rows,
            fields=named,
            active=active,
            reservations=reservations,
            catalog=version(),
            time_us="?",
        ),
    )
