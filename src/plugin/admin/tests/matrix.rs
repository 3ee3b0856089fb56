//! Who may call what: each route of the API, called by each kind of caller, against what `access.txt` says, which knows nothing of the code.
//!
//! The ids in the paths are nobody's, so that what is allowed is answered 404, 422 or 400 and changes nothing that the others
//! need. What the areas make of a call is their tests' business: here it is only who is let in.

use std::collections::{BTreeMap, BTreeSet};

use super::super::auth::{self, Access, Members, Permission, Scope, Section, Token};
use super::super::people::{Role, User, UserState};
use super::super::routes::{self, AREAS, Api, Route, of_tenants};
use super::*;
use crate::plugin::admin::owned::Owned;

/// What stands in the way of a caller, and how it is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Open,
    Denied,
    Scope,
    Forbidden,
}

impl Way {
    fn body(self) -> &'static [u8] {
        match self {
            Way::Open => b"",
            Way::Denied => br#"{"error":"Access denied"}"#,
            Way::Scope => br#"{"error":"Your access token does not have the correct permissions"}"#,
            Way::Forbidden => br#"{"status":"Forbidden"}"#,
        }
    }
}

/// A caller: the credentials, and the table's rule for them.
struct Who {
    name: String,
    credentials: Value,
    expected: Box<dyn Fn(Access, Method) -> Way>,
}

fn is_for(access: Access, scopes: &[Scope]) -> bool {
    access.scopes.iter().any(|scope| scopes.contains(scope))
        && access.also.iter().all(|scope| scopes.contains(scope))
}

fn token(name: &str) -> Value {
    json!({"access_token": name})
}

/// Users and tokens for the matrix.
struct Cast {
    world: World,
}

impl Cast {
    fn user(&self, role: Role, sections: &[Section], services: Option<Vec<u64>>) -> u64 {
        let made = self.world.admin.desk.command(|draft, records| {
            let id = draft.take_id();
            let user = User {
                tenant: self.world.tenant.0,
                account: None,
                username: format!("user{id}"),
                email: format!("user{id}@example.com"),
                role,
                state: UserState::Active,
                sections: sections.to_vec(),
                services: services.clone(),
                password_hash: None,
                extra: serde_json::Map::new(),
                created_at: NOW,
                updated_at: NOW,
            };
            user.put(id, records)?;
            Ok::<_, crate::store::ShelfError>(id)
        });
        made.unwrap().0
    }

    fn token(
        &self,
        user: u64,
        value: &str,
        scopes: &[Scope],
        permission: Permission,
        expires_at: Option<u64>,
    ) {
        let made = self.world.admin.desk.command(|draft, records| {
            let token = Token {
                tenant: self.world.tenant.0,
                user,
                name: value.to_owned(),
                scopes: scopes.to_vec(),
                permission,
                expires_at,
                hash: auth::hash_of(value),
            };
            token.put(draft.take_id(), records)
        });
        made.unwrap();
    }

    fn all(&self) -> Vec<Who> {
        let admin = self.user(Role::Admin, &[], None);
        let always = |way: Way| Box::new(move |_: Access, _: Method| way);
        let who = |name: &str, credentials, expected| Who { name: name.to_owned(), credentials, expected };
        self.token(admin, "expired", &Scope::ALL, Permission::Write, Some(NOW));
        self.token(admin, "ro", &Scope::ALL, Permission::Read, None);
        self.token(admin, "rw", &Scope::ALL, Permission::Write, None);
        let suspended = self.user(Role::Admin, &[], None);
        self.token(suspended, "suspended", &Scope::ALL, Permission::Write, None);
        self.suspend(suspended);
        let reads = |_: Access, method: Method| if method == Method::Get { Way::Open } else { Way::Scope };
        let key = |access: Access, _: Method| match access.members {
            Members::Persons => Way::Forbidden,
            _ => Way::Open,
        };
        let by_scope = |access: Access, scope| if is_for(access, &[scope]) { Way::Open } else { Way::Scope };
        let mut all = vec![
            who("nobody", json!({}), always(Way::Denied)),
            who("an unknown token", token("unknown"), always(Way::Denied)),
            who("an expired token", token("expired"), always(Way::Denied)),
            who("a suspended user", token("suspended"), always(Way::Denied)),
            who("an admin who reads", token("ro"), Box::new(reads)),
            who("an admin", token("rw"), always(Way::Open)),
            who("the provider key", json!({"provider_key": "pkey"}), Box::new(key)),
            who("an unknown provider key", json!({"provider_key": "other"}), always(Way::Denied)),
        ];
        for scope in Scope::ALL {
            let value = format!("only {}", scope.name());
            self.token(admin, &value, &[scope], Permission::Write, None);
            all.push(who(&value, token(&value), Box::new(move |access, _| by_scope(access, scope))));
            let value = format!("only {} to read", scope.name());
            self.token(admin, &value, &[scope], Permission::Read, None);
            let to_read = move |access, method| match method {
                Method::Get => by_scope(access, scope),
                _ => Way::Scope,
            };
            all.push(who(&value, token(&value), Box::new(to_read)));
        }
        let sections = Section::ALL.map(|section| vec![section]).to_vec();
        let groups = sections.into_iter().chain([vec![], Section::ALL.to_vec()]);
        let may = [Permission::Read, Permission::Write];
        all.extend(
            groups.flat_map(|sections| may.map(|permission| self.member(sections.clone(), permission))),
        );
        all
    }

    /// A member with a token of all scopes, who is allowed some sections.
    fn member(&self, sections: Vec<Section>, permission: Permission) -> Who {
        let member = self.user(Role::Member, &sections, None);
        let names: Vec<_> = sections.iter().map(|it| it.name()).collect();
        let value = format!("member of {} with {permission:?}", names.join("+"));
        self.token(member, &value, &Scope::ALL, permission, None);
        let expected = move |access: Access, method: Method| {
            if permission == Permission::Read && method != Method::Get {
                return Way::Scope;
            }
            // A token for what its user may not do is none for it.
            let scopes: Vec<_> =
                Scope::ALL.into_iter().filter(|scope| sections.contains(&scope.section())).collect();
            let is_allowed = match access.members {
                Members::All | Members::Persons => true,
                Members::Of(section) => sections.contains(&section),
                Members::None => false,
            };
            match (is_for(access, &scopes), is_allowed) {
                (false, _) => Way::Scope,
                (true, false) => Way::Forbidden,
                (true, true) => Way::Open,
            }
        };
        Who { credentials: token(&value), name: value, expected: Box::new(expected) }
    }

    fn suspend(&self, id: u64) {
        let done = self.world.admin.desk.command(|_, records| {
            let user = records.find::<User>(id)?.unwrap();
            User { state: UserState::Suspended, ..user }.put(id, records)
        });
        done.unwrap();
    }
}

/// The path of a route with this in place of its first brace, and nobody's id in place of the others.
fn path_of(route: &Route, first: &str) -> String {
    let mut first = Some(first);
    let segment = |segment: &str| match segment.starts_with('{') {
        true => first.take().unwrap_or("999999").to_owned(),
        false => segment.to_owned(),
    };
    route.path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Routes of tenants, with where they lie if that is not `/admin/api/`.
fn all_routes() -> impl Iterator<Item = (&'static str, &'static Route, Method)> {
    let of_tenants = AREAS.iter().flat_map(|area| area.routes).map(|route| ("", route));
    let routes = of_tenants.chain(Api::Stats.routes().map(|route| ("/stats/", route)));
    routes.flat_map(|(root, route)| route.methods.iter().map(move |method| (root, route, *method)))
}

/// A path with the suffix for JSON, unless it has another.
fn in_json(path: String) -> String {
    if path.ends_with(".csv") { path } else { format!("{path}.json") }
}

/// Who may call what, by method and path; what is in braces has no name.
const ACCESS: &str = include_str!("access.txt");

/// A method and a path as `access.txt` has them.
fn named(method: Method, path: &str) -> String {
    let method = if method == Method::Patch { Method::Put } else { method };
    let path: Vec<_> = path.split('/').map(|it| if it.starts_with('{') { "{}" } else { it }).collect();
    format!("{} {}", method.name(), path.join("/"))
}

fn table() -> BTreeMap<String, Access> {
    let lines = ACCESS.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &str| {
        let [method, path, scopes, who] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("four columns: {line}")
        };
        let (scopes, also) = scopes.split_once('&').map_or((scopes, None), |(one, also)| (one, Some(also)));
        let also = also.map(|scope| Scope::parse(scope).unwrap());
        let scopes: Vec<_> = scopes.split('+').map(|scope| Scope::parse(scope).unwrap()).collect();
        let members = match who {
            "admins" => Members::None,
            "persons" => Members::Persons,
            "anybody" => Members::All,
            section => Members::Of(Section::parse(section).unwrap()),
        };
        let method = [Method::Get, Method::Post, Method::Put, Method::Delete]
            .into_iter()
            .find(|it| it.name() == method);
        (named(method.unwrap(), path), Access { scopes: scopes.leak(), also, members })
    };
    lines.map(row).collect()
}

#[test]
fn each_route_asks_what_the_table_says_and_none_is_missing() {
    let mut table = table();
    let of_master =
        routes::of_master().flat_map(|route| route.methods.iter().map(move |method| (route, *method)));
    let of_master =
        of_master.map(|(route, method)| (named(method, &format!("/master/api/{}", route.path)), route));
    let of_tenants =
        all_routes().map(|(root, route, method)| (named(method, &format!("{root}{}", route.path)), route));
    let mut seen = BTreeSet::new();
    for (name, route) in of_tenants.chain(of_master) {
        let Some(said) = table.get(&name) else { panic!("{name} has no line") };
        let sorted = |scopes: &[Scope]| scopes.iter().map(|it| it.name()).collect::<BTreeSet<_>>();
        assert_eq!(sorted(route.access.scopes), sorted(said.scopes), "{name}");
        assert_eq!((route.access.also, route.access.members), (said.also, said.members), "{name}");
        seen.insert(name);
    }
    table.retain(|name, _| !seen.contains(name));
    assert!(table.is_empty(), "no routes: {table:?}");
}

#[test]
fn each_route_lets_in_whom_the_table_says_and_nobody_else() {
    let (cast, table) = (Cast { world: World::new() }, table());
    let everybody = cast.all();
    let mut asked = 0;
    for (root, route, method) in all_routes() {
        let path = in_json(format!("{root}{}", path_of(route, "999999")));
        let access = table[&named(method, &format!("{root}{}", route.path))];
        for who in &everybody {
            let expected = (who.expected)(access, method);
            let answer = cast.world.send(method, &path, who.credentials.clone(), None);
            let told = String::from_utf8_lossy(&answer.body);
            let context = format!("{} {path} by {}: {} {told}", method.name(), who.name, answer.status);
            if expected == Way::Open {
                let ways = [Way::Denied, Way::Scope, Way::Forbidden];
                assert!(
                    answer.status != 401 && ways.iter().all(|way| way.body() != &answer.body[..]),
                    "{context}"
                );
                assert!(answer.status < 500, "{context}");
            } else {
                assert_eq!((answer.status, &answer.body[..]), (403, expected.body()), "{context}");
            }
            assert_eq!(answer.is_stranger, expected == Way::Denied, "{context}");
            asked += 1;
        }
    }
    assert!(asked > 200 * 30, "{asked}");
}

#[test]
fn a_service_that_a_member_is_not_shown_is_not_there_nor_is_one_of_another_tenant() {
    let cast = Cast { world: World::new() };
    let service = cast.world.get("services").1["services"][0]["service"]["id"].to_string();
    let member = cast.user(Role::Member, &Section::ALL, Some(Vec::new()));
    cast.token(member, "blind", &Scope::ALL, Permission::Write, None);
    let (other, _) = cast.world.engine.change(|draft| draft.create_tenant("Other", "other key")).unwrap();
    cast.world.admin.begin(other, "other's token").unwrap();
    let mut asked = 0;
    for (root, route, method) in all_routes().filter(|(_, route, _)| route.path.starts_with("services/{")) {
        // The others are of admins alone.
        let callers = [("blind", route.access.members != Members::None), ("other's token", true)];
        for (caller, _) in callers.iter().filter(|(_, is_asked)| *is_asked) {
            let path = in_json(format!("{root}{}", path_of(route, &service)));
            let answer = cast.world.send(method, &path, token(caller), None);
            let told = String::from_utf8_lossy(&answer.body);
            assert_eq!(answer.status, 404, "{} {path} by {caller}: {told}", method.name());
            asked += 1;
        }
    }
    assert!(asked >= 26, "{asked}");
    assert_eq!(cast.world.get(&format!("services/{service}")).0, 200);
}

/// What 3scale publishes of this API, a method and a path a line.
const PUBLISHED: &str = include_str!("published_routes.txt");

#[test]
fn there_is_a_route_for_all_that_is_published() {
    let methods = [
        ("GET", Method::Get),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("PATCH", Method::Patch),
        ("DELETE", Method::Delete),
    ];
    let mut missing = Vec::new();
    for line in PUBLISHED.lines() {
        let (name, path) = line.split_once(' ').unwrap();
        let method = methods.iter().find(|(known, _)| *known == name).unwrap().1;
        let path: Vec<_> =
            path.split('/').map(|it| if it.starts_with('{') { "1" } else { it }.to_owned()).collect();
        if routes::find(of_tenants(), method, &path).is_err() {
            missing.push(line);
        }
    }
    assert_eq!(missing, Vec::<&str>::new());
    assert_eq!(PUBLISHED.lines().count(), 208);
}
