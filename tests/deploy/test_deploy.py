"""What deploy/ ships, against the tools and schemas it is for, and against what a node really exposes."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients" / "threescalepy"))
from node import Node  # noqa: E402

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
BINARY = os.environ["NODE_BINARY"]

# The Kubernetes release whose schema the manifests must fit, and the oldest that they are for.
KUBERNETES = ["1.35", "1.29"]

# systemd's measure of what a service could do to the system, from 0 (nothing) to 10.
EXPOSURE_MAX = 1.5

# What Prometheus itself knows of a target.
OF_PROMETHEUS = {"up"}


def documents():
    return [doc for doc in yaml.safe_load_all((DEPLOY / "kubernetes/sidecar.yaml").read_text()) if doc]


class SystemdTest(unittest.TestCase):
    def setUp(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed here")
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        # Verifying looks for the programs that the unit starts; the one under test stands in for an installed one.
        self.unit = Path(home.name) / "tollgate.service"
        text = (DEPLOY / "systemd/tollgate.service").read_text()
        self.assertIn("ExecStart=/usr/bin/tollgate serve\n", text)
        self.unit.write_text(text.replace("/usr/bin/tollgate", BINARY))

    def analyze(self, *arguments):
        done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def test_the_unit_verifies_without_a_complaint(self):
        # Nothing but this unit is of interest.
        code, said = self.analyze("verify", "--man=no", "--recursive-errors=no", str(self.unit))
        about_it = [line for line in said.splitlines() if "tollgate" in line]
        self.assertEqual((code, about_it), (0, []), said)

    def test_a_unit_with_a_mistake_does_not_verify(self):
        self.unit.write_text(self.unit.read_text().replace("ProtectSystem=strict", "ProtectSystem=very"))
        _, said = self.analyze("verify", "--man=no", "--recursive-errors=no", str(self.unit))
        self.assertIn("ignoring: very", said)

    def test_the_service_is_exposed_to_little(self):
        code, said = self.analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", str(self.unit))
        if "unrecognized option" in said:
            self.skipTest("this systemd cannot look at a unit file offline")
        self.assertEqual(code, 0, said)


class SettingsTest(unittest.TestCase):
    """The configurations that are shipped are ones that a node takes."""

    def check(self, text, **variables):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            env = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
            command = [BINARY, "check", "--config", file.name]
            done = subprocess.run(command, env={**env, **variables}, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_units_configuration_is_good(self):
        unit = (DEPLOY / "systemd/tollgate.service").read_text()
        variables = dict(re.findall(r"^Environment=(TOLLGATE_\w+)=(.*)$", unit, re.M))
        del variables["TOLLGATE_CONFIG"]
        self.check((DEPLOY / "systemd/tollgate.toml").read_text(), **variables)

    def test_the_sidecars_configuration_is_good(self):
        config = next(doc for doc in documents() if doc["kind"] == "ConfigMap")
        container = sidecar()
        variables = {it["name"]: it["value"] for it in container["env"]}
        self.check(config["data"]["tollgate.toml"], **variables)

    def test_the_grace_period_is_longer_than_a_stop(self):
        config = next(doc for doc in documents() if doc["kind"] == "ConfigMap")["data"]["tollgate.toml"]
        drain_s = int(re.search(r"^drain_s = (\d+)", config, re.M).group(1))
        self.assertGreater(pod()["terminationGracePeriodSeconds"], drain_s + 10)


def pod():
    return next(doc for doc in documents() if doc["kind"] == "StatefulSet")["spec"]["template"]["spec"]


def sidecar():
    return next(container for container in pod()["initContainers"] if container["name"] == "tollgate")


class ContainerTest(unittest.TestCase):
    def setUp(self):
        self.text = (DEPLOY / "Containerfile").read_text()
        self.root = DEPLOY.parent

    def test_it_copies_all_that_the_build_reads(self):
        with tempfile.TemporaryDirectory() as home:
            for names in re.findall(r"^COPY (?!--from)(.+)$", self.text, re.M):
                *sources, target = names.split()
                for source in sources:
                    source = self.root / source
                    if source.is_dir():
                        ignore = shutil.ignore_patterns(".venv", "target")
                        shutil.copytree(source, Path(home) / target, ignore=ignore)
                    else:
                        shutil.copy(source, Path(home) / target)
            command = ["cargo", "metadata", "--format-version=1", "--no-deps", "--locked", "--offline"]
            done = subprocess.run(command, cwd=home, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_it_builds_with_the_compiler_that_the_manifest_wants(self):
        wanted = re.search(r'^rust-version = "(.*)"', (self.root / "Cargo.toml").read_text(), re.M).group(1)
        self.assertIn(f"FROM rust:{wanted}-", self.text)

    def test_it_runs_a_bare_program_as_nobody_in_particular(self):
        stages = re.split(r"^FROM ", self.text, flags=re.M)
        self.assertTrue(stages[-1].startswith("scratch\n"))
        user = re.search(r"^USER (\d+):(\d+)$", stages[-1], re.M).group(1)
        self.assertNotEqual(user, "0")
        self.assertEqual(int(user), pod()["securityContext"]["runAsUser"])


class KubernetesTest(unittest.TestCase):
    def test_the_manifests_fit_the_schema(self):
        import kubernetes_validate

        for version in KUBERNETES:
            for document in documents():
                with self.subTest(version=version, kind=document["kind"]):
                    kubernetes_validate.validate(document, version, strict=True)

    def test_a_manifest_with_a_mistake_does_not_fit(self):
        import kubernetes_validate

        document = next(doc for doc in documents() if doc["kind"] == "StatefulSet")
        document["spec"]["replica"] = 2
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(document, KUBERNETES[0], strict=True)

    def test_names_that_refer_to_each_other_agree(self):
        by_kind = {}
        for document in documents():
            by_kind.setdefault(document["kind"], []).append(document)
        labels = pod_labels = by_kind["StatefulSet"][0]["spec"]["template"]["metadata"]["labels"]
        selectors = [it["spec"]["selector"] for it in by_kind["Service"]]
        selectors += [it["spec"]["selector"]["matchLabels"] for it in by_kind["PodDisruptionBudget"]]
        selectors += [it["spec"]["podSelector"]["matchLabels"] for it in by_kind["NetworkPolicy"]]
        for selector in selectors:
            self.assertLessEqual(selector.items(), labels.items(), pod_labels)
        services = [it["metadata"]["name"] for it in by_kind["Service"]]
        self.assertIn(by_kind["StatefulSet"][0]["spec"]["serviceName"], services)
        ports = {port["name"] for it in pod()["initContainers"] + pod()["containers"] for port in it["ports"]}
        used = {port["targetPort"] for it in by_kind["Service"] for port in it["spec"]["ports"]}
        used |= {port["port"] for rule in by_kind["NetworkPolicy"][0]["spec"]["ingress"] for port in rule["ports"]}
        used |= {it["httpGet"]["port"] for name, it in sidecar().items() if name.endswith("Probe")}
        self.assertLessEqual(used, ports)
        volumes = {it["name"] for it in pod()["volumes"]}
        volumes |= {it["metadata"]["name"] for it in by_kind["StatefulSet"][0]["spec"]["volumeClaimTemplates"]}
        mounted = {mount["name"] for mount in sidecar()["volumeMounts"]}
        self.assertEqual(mounted, volumes)


class Exposed:
    """What a node with some traffic exposes: series by metric, a list of label sets each."""

    def __init__(self, text):
        self.series = {}
        self.described = set()
        for line in text.splitlines():
            described = re.match(r"# HELP (\w+) \S", line)
            if described:
                self.described.add(described.group(1))
            sample = re.match(r"(\w+)(?:\{(.*)\})? \S+$", line)
            if sample:
                labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', sample.group(2) or ""))
                self.series.setdefault(sample.group(1), []).append(labels)

    def families(self):
        """Metrics by the names they are documented by: a histogram is one."""
        def family(name):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            return base if base + "_bucket" in self.series else name

        return {family(name) for name in self.series}


# A selector: a metric and its matchers.
SELECTOR = re.compile(r"\b(tollgate_\w+|up)\b(?:\s*\{([^}]*)\})?")
# What else may stand in an expression: functions, keywords, labels in by(...), durations, variables, strings.
WORDS = set("sum count max min rate increase histogram_quantile by le label_values".split())


class MetricsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The internal API has metrics once somebody may use it.
        node = Node(TOLLGATE_INTERNAL_API_USER="user", TOLLGATE_INTERNAL_API_PASSWORD="password")
        cls.addClassCleanup(node.close)

        def get(path):
            try:
                with urllib.request.urlopen(node.uri + path) as answer:
                    return answer.read().decode()
            except urllib.error.HTTPError as refused:
                return refused.read().decode()

        credentials = f"service_id={node.service_id}&service_token={node.service_token}&user_key={node.user_key}"
        for call in ["authorize", "authrep", "oauth_authorize", "oauth_authrep"]:
            for _ in range(40):
                get(f"/transactions/{call}.xml?{credentials}&usage%5Bhits%5D=1")
        body = f"service_id={node.service_id}&service_token={node.service_token}&transactions[0][user_key]=none"
        for _ in range(40):
            urllib.request.urlopen(node.uri + "/transactions.xml", body.encode()).read()
        get("/nothing")
        cls.text = get("/metrics")
        cls.exposed = Exposed(cls.text)

    def holds(self, where, expression):
        """Every metric that an expression names is exposed, with series that its matchers can match."""
        self.assertEqual(expression.count("("), expression.count(")"), where)
        selectors = list(SELECTOR.finditer(expression))
        self.assertTrue(selectors, f"{where}: {expression} names no metric")
        for selector in selectors:
            name, matchers = selector.groups()
            if name in OF_PROMETHEUS:
                continue
            series = self.exposed.series.get(name)
            self.assertIsNotNone(series, f"{where}: no node exposes {name}")
            for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers or ""):
                # Prometheus adds these two to what it scrapes.
                if label in {"job", "instance"}:
                    continue
                values = {labels[label] for labels in series if label in labels}
                self.assertTrue(values, f"{where}: {name} has no label {label}")
                # Each alternative must be one that there is; a misspelt one would match nothing for ever.
                for alternative in value.split("|") if operator in {"=~", "!~"} else [value]:
                    matched = any(re.fullmatch(alternative, known) for known in values)
                    self.assertTrue(matched, f"{where}: no {label} of {name} is {alternative}")
        rest = SELECTOR.sub(" ", expression)
        rest = re.sub(r'"[^"]*"|\[[^\]]*\]|\bby\s*\([^)]*\)', " by ", rest)
        unknown = set(re.findall(r"[a-zA-Z_]\w*", rest)) - WORDS
        self.assertEqual(unknown, set(), f"{where}: {expression}")

    def test_the_alert_rules_name_what_a_node_exposes(self):
        rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
        self.assertEqual(set(rules), {"groups"})
        names = []
        for group in rules["groups"]:
            self.assertEqual(set(group), {"name", "rules"})
            for rule in group["rules"]:
                where = rule["alert"]
                names.append(where)
                self.assertEqual(set(rule), {"alert", "expr", "for", "labels", "annotations"}, where)
                self.assertRegex(rule["for"], r"^\d+[smhd]$", where)
                self.assertIn(rule["labels"]["severity"], {"page", "ticket"}, where)
                self.assertEqual(set(rule["annotations"]), {"summary", "description"}, where)
                self.holds(where, rule["expr"])
        self.assertEqual(len(names), len(set(names)))

    def test_the_dashboard_names_what_a_node_exposes(self):
        dashboard = json.loads((DEPLOY / "grafana/tollgate.json").read_text())
        panels = dashboard["panels"]
        self.assertEqual(len(panels), len({panel["id"] for panel in panels}))
        taken = set()
        for panel in panels:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            self.assertFalse(cells & taken, f"{panel['title']} covers another panel")
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            taken |= cells
            for target in panel.get("targets", []):
                self.holds(panel["title"], target["expr"])
        variables = {it["name"]: it for it in dashboard["templating"]["list"]}
        self.assertEqual(set(variables), {"datasource", "job", "instance"})
        for name in ["job", "instance"]:
            self.assertRegex(variables[name]["definition"], r"^label_values\(tollgate_info\b")

    def test_a_name_that_no_node_has_is_found(self):
        for expression in [
            "tollgate_nothing > 0",
            'rate(tollgate_decisions_total{result="limit_exceeded"}[5m])',
            'rate(tollgate_decisions_total{results="authorized"}[5m])',
            "averge(tollgate_degraded)",
        ]:
            with self.subTest(expression), self.assertRaises(AssertionError):
                self.holds("here", expression)

    def test_every_metric_is_documented(self):
        text = (DEPLOY / "README.md").read_text()
        documented = set(re.findall(r"^\| `(tollgate_\w+)` \|", text, re.M))
        exposed = {name for name in self.exposed.families() if name.startswith("tollgate_")}
        self.assertEqual(exposed - documented, set(), "exposed, but not in deploy/README.md")
        # A list of the top has its HELP line before anybody is on it.
        named = exposed | self.exposed.described
        self.assertEqual(documented - named, set(), "in deploy/README.md, but not exposed")
        self.assertEqual(exposed - self.exposed.described, set(), "exposed without a HELP line")


if __name__ == "__main__":
    unittest.main()
