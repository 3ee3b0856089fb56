//! What calls that go out may reach although others could lead them there: a list of hosts, addresses and networks.

use crate::outgoing::Allowed;

/// What a list names, separated by commas.
pub(super) fn read(list: Option<&str>, problems: &mut Vec<String>) -> Vec<Allowed> {
    let mut found = Vec::new();
    for text in list.unwrap_or_default().split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match text.parse() {
            Ok(allowed) => found.push(allowed),
            Err(error) => problems.push(format!("outgoing_allow: {error}")),
        }
    }
    found
}

/// The list as it would be written; none if nothing is in it.
pub(super) fn written(allowed: &[Allowed]) -> Option<String> {
    let texts: Vec<_> = allowed.iter().map(Allowed::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Settings};

    #[test]
    fn what_may_be_reached_is_a_list_of_hosts_addresses_and_networks() {
        let of = |list: &str| {
            let texts =
                |config: Config| config.outgoing_allow.iter().map(Allowed::to_string).collect::<Vec<_>>();
            let written = [("TOLLGATE_OUTGOING_ALLOW".to_owned(), list.to_owned())];
            Config::load(Settings::default(), written).map(texts).map_err(|errors| errors.0)
        };
        assert_eq!(of(""), Ok(Vec::new()));
        let all = ["hooks.internal", "127.0.0.1/32", "10.0.0.0/8", "::1/128"].map(str::to_owned).to_vec();
        assert_eq!(of("Hooks.internal, 127.0.0.1,10.0.0.0/8,[::1]"), Ok(all));
        let problem = "TOLLGATE_OUTGOING_ALLOW: outgoing_allow: `10.0.0.0/33` is neither a host, nor an address, nor a network such as 10.0.0.0/8";
        assert_eq!(of("a,10.0.0.0/33"), Err(vec![problem.to_owned()]));
        let flags = || Settings { outgoing_allow: Some("10.0.0.0/8".to_owned()), ..Settings::default() };
        let (_, effective) = Config::load_explained(flags(), []).unwrap();
        let shown = effective.iter().find(|it| it.key == "outgoing_allow").unwrap();
        assert_eq!(shown.value.trim_matches('"'), "10.0.0.0/8");
    }
}
