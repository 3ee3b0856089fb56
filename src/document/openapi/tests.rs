//! Operations, their names and references.

use super::super::render;
use super::*;

const SHOP: &str = r#"
openapi: 3.0.3
info: {title: Shop, version: "1"}
servers:
- url: https://{host}/{stage}/v1/
  variables: {host: {default: api.example}, stage: {default: live}}
- url: /other
paths:
  /items/{item-id}:
    parameters: []
    get: {operationId: getItem, summary: One item}
    trace: {}
  /items/mine:
    get: {operationId: get item!}
    post: {}
  /shared: {$ref: '#/components/pathItems/Shared'}
  x-note: nothing
components:
  pathItems:
    Shared: {$ref: '#/components/pathItems/Real'}
    Real:
      delete: {operationId: getitem}
"#;

#[test]
fn operations_become_methods_and_rules() {
    let text = render::render(&fragment(SHOP, "shop").unwrap());
    let expected = r#"version: 1
services:
- system_name: shop
  metrics:
  - system_name: hits
    methods:
    - system_name: getItem
      friendly_name: getItem
      description: One item
    - system_name: get_item
      friendly_name: "get item!"
      description: ""
    - system_name: getitem_2
      friendly_name: getitem 2
      description: ""
    - system_name: post_live_v1_items_mine
      friendly_name: POST /live/v1/items/mine
      description: ""
  mapping_rules:
  - http_method: DELETE
    pattern: "/live/v1/shared$"
    metric: getitem
    delta: 1
    last: true
  - http_method: GET
    pattern: "/live/v1/items/mine$"
    metric: get_item
    delta: 1
    last: true
  - http_method: POST
    pattern: "/live/v1/items/mine$"
    metric: post_live_v1_items_mine
    delta: 1
    last: true
  - http_method: GET
    pattern: "/live/v1/items/{item_id}$"
    metric: getItem
    delta: 1
    last: true
"#;
    // Of two names that differ in case only the first that comes has it.
    let expected = expected
        .replace(
            "    - system_name: getItem\n      friendly_name: getItem\n",
            "    - system_name: getItem_2\n      friendly_name: getItem 2\n",
        )
        .replace(
            "    - system_name: getitem_2\n      friendly_name: getitem 2\n",
            "    - system_name: getitem\n      friendly_name: getitem\n",
        )
        .replace("metric: getItem\n", "metric: getItem_2\n");
    assert_eq!(text, expected);
    super::super::read::read(&text).unwrap();
}

#[test]
fn the_same_in_json_is_the_same() {
    let json = r#"{
	"openapi": "3.1.0", "paths": {"/a\/b": {"get": {"operationId": "a\u0062"}}}
}"#;
    let document = fragment(json, "shop").unwrap();
    let rule = &document.services.unwrap()[0].mapping_rules.as_ref().unwrap()[0].clone();
    assert_eq!((rule.pattern.as_str(), rule.metric.as_str()), ("/a/b$", "ab"));
}

fn told(text: &str) -> String {
    fragment(text, "shop").err().unwrap_or_default().iter().map(|it| format!("{it}\n")).collect()
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    assert_eq!(told("swagger: '2.0'\n"), "1:1: openapi: this is no OpenAPI 3: openapi must be 3.x\n");
    let paths = |it: &str| told(&format!("openapi: 3.0.0\npaths:\n{it}"));
    assert!(paths("  /a: {$ref: 'https://a.example/b.yaml'}\n").contains("leads out of this description"));
    assert!(paths("  /a: {$ref: other.yaml}\n").starts_with("3:14: paths./a: 'other.yaml' leads out"));
    assert!(paths("  /a: {$ref: '#/b'}\n").contains("leads to nothing"));
    assert!(paths("  /a: {$ref: '#/paths/~1a'}\n").contains("more than 16 times"));
    assert!(paths("  a: {}\n").contains("must begin with a slash"));
}

#[test]
fn references_are_followed_so_often() {
    let chain = |count: usize| {
        let links: String =
            (0..count).map(|at| format!("  /r{at}: {{$ref: '#/paths/~1r{}'}}\n", at + 1)).collect();
        told(&format!("openapi: 3.0.0\npaths:\n{links}  /r{count}: {{}}\n"))
    };
    assert_eq!(chain(HOPS_MAX), "");
    assert!(chain(HOPS_MAX + 1).contains("paths./r0: references lead to references"));
}

#[test]
fn operations_are_bounded() {
    let many = |count: usize| {
        let all: String = (0..count).map(|at| format!("  /p{at}: {{get: {{}}}}\n")).collect();
        told(&format!("openapi: 3.0.0\npaths:\n{all}"))
    };
    assert_eq!(many(OPERATIONS_MAX), "");
    assert!(many(OPERATIONS_MAX + 1).contains("more than 2000 operations"));
}
