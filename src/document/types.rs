//! The types of a document. See the [room](super) for what keys mean that are left out, and [`shape`](super::shape) for how they are described.

#![allow(missing_docs, reason = "keys that are fields of the admin API mean what they mean there")]

use super::shape::{Amount, Free, Key, Kind, Part, Secret, Shape, TextOrSecret, record};

/// The version of documents that is read and written.
pub const VERSION: u32 = 1;

record! {
    /// What a tenant has set up.
    Document "document" [] {
        /// [`VERSION`].
        version: u32,
        /// The service of calls that name none.
        default_service: Option<String>,
        /// The account plan of accounts that ask for none; empty: none.
        default_account_plan: Option<String>,
        /// Fields that the tenant has defined for accounts, users and applications.
        fields: Option<Vec<Field>>,
        /// Features of account plans.
        features: Option<Vec<Feature>>,
        account_plans: Option<Vec<Plan>>,
        backends: Option<Vec<Backend>>,
        services: Option<Vec<Service>>,
        accounts: Option<Vec<Account>>,
    }
}

record! {
    /// A field that records of a kind have.
    Field "field" ["target", "name"] {
        /// `Account`, `User` or `Cinstance` (an application).
        target: String,
        name: String,
        label: Option<String>,
        required: Option<bool>,
        hidden: Option<bool>,
        read_only: Option<bool>,
        choices: Option<Vec<String>>,
    }
}

record! {
    /// A feature that plans can have.
    Feature "feature" ["system_name"] {
        system_name: String,
        name: Option<String>,
        /// Of a service's: `application_plan` (the default) or `service_plan`. Cannot change.
        scope: Option<String>,
        description: Option<String>,
        visible: Option<bool>,
    }
}

record! {
    /// A plan of services or of accounts.
    Plan "plan" ["system_name"] {
        system_name: String,
        name: Option<String>,
        description: Option<String>,
        published: Option<bool>,
        approval_required: Option<bool>,
        setup_fee: Option<Amount>,
        cost_per_month: Option<Amount>,
        trial_period_days: Option<u32>,
        cancellation_period: Option<u32>,
        features: Option<Vec<String>>,
    }
}

record! {
    /// A plan of applications.
    ApplicationPlan "application plan" ["system_name"] {
        system_name: String,
        name: Option<String>,
        description: Option<String>,
        published: Option<bool>,
        approval_required: Option<bool>,
        setup_fee: Option<Amount>,
        cost_per_month: Option<Amount>,
        trial_period_days: Option<u32>,
        cancellation_period: Option<u32>,
        /// The plan of which this one was made for one application alone.
        custom_of: Option<String>,
        features: Option<Vec<String>>,
        limits: Option<Vec<Limit>>,
        pricing_rules: Option<Vec<PricingRule>>,
    }
}

record! {
    /// How much of a metric calls may use in a period.
    Limit "limit" [] {
        /// The backend whose metric it is; without one it is the service's own.
        backend: Option<String>,
        metric: String,
        period: String,
        value: u64,
    }
}

record! {
    /// What units of a metric cost.
    PricingRule "pricing rule" [] {
        /// As of a limit.
        backend: Option<String>,
        metric: String,
        /// The first unit that it prices, from 1 (the default).
        min: Option<u64>,
        /// The last; without one all above.
        max: Option<u64>,
        cost_per_unit: Amount,
    }
}

record! {
    /// A metric of a service or backend.
    Metric "metric" ["system_name"] {
        system_name: String,
        friendly_name: Option<String>,
        unit: Option<String>,
        description: Option<String>,
        /// Of `hits` alone.
        methods: Option<Vec<Method>>,
    }
}

record! {
    /// A method: a metric below `hits`.
    Method "method" ["system_name"] {
        system_name: String,
        friendly_name: Option<String>,
        description: Option<String>,
    }
}

record! {
    /// What calls count; in the order in which they are tried.
    MappingRule "mapping rule" [] {
        http_method: String,
        pattern: String,
        /// A metric or method of the same service or backend.
        metric: String,
        /// 1, if nothing is said.
        delta: Option<u64>,
        last: Option<bool>,
        redirect_url: Option<String>,
    }
}

record! {
    /// A private API that services consist of.
    Backend "backend" ["system_name"] {
        system_name: String,
        name: Option<String>,
        description: Option<String>,
        /// Where it is, with its port. A new one needs it.
        private_endpoint: Option<TextOrSecret>,
        annotations: Option<Free>,
        metrics: Option<Vec<Metric>>,
        mapping_rules: Option<Vec<MappingRule>>,
    }
}

record! {
    /// A product.
    Service "service" ["system_name"] {
        system_name: String,
        name: Option<String>,
        description: Option<String>,
        /// Suspended by the node's operator: nobody may call.
        suspended: Option<bool>,
        /// `1` (user key), `2` (application id and key), `oauth` or `oidc`.
        backend_version: Option<String>,
        deployment_option: Option<String>,
        support_email: Option<String>,
        intentions_required: Option<bool>,
        buyers_manage_apps: Option<bool>,
        buyers_manage_keys: Option<bool>,
        referrer_filters_required: Option<bool>,
        custom_keys_enabled: Option<bool>,
        buyer_key_regenerate_enabled: Option<bool>,
        mandatory_app_key: Option<bool>,
        buyer_can_select_plan: Option<bool>,
        buyer_plan_change_permission: Option<String>,
        annotations: Option<Free>,
        /// Service tokens; gateways get the last.
        tokens: Option<Vec<Secret>>,
        metrics: Option<Vec<Metric>>,
        backends: Option<Vec<Usage>>,
        features: Option<Vec<Feature>>,
        /// The service plan of subscriptions that ask for none; empty: none.
        default_service_plan: Option<String>,
        service_plans: Option<Vec<Plan>>,
        /// The application plan of signups that ask for none; empty: none.
        default_application_plan: Option<String>,
        application_plans: Option<Vec<ApplicationPlan>>,
        mapping_rules: Option<Vec<MappingRule>>,
        proxy: Option<Proxy>,
        /// The chain of policies, in its order.
        policies: Option<Vec<Policy>>,
    }
}

record! {
    /// That a service uses a backend.
    Usage "use of backend" ["backend"] {
        backend: String,
        path: Option<String>,
    }
}

record! {
    /// How a gateway stands before a service.
    Proxy "proxy" [] {
        endpoint: Option<TextOrSecret>,
        sandbox_endpoint: Option<TextOrSecret>,
        /// The private API; empty: that of the backend that is used at `/`.
        api_backend: Option<TextOrSecret>,
        credentials_location: Option<String>,
        auth_app_key: Option<String>,
        auth_app_id: Option<String>,
        auth_user_key: Option<String>,
        error_auth_failed: Option<String>,
        error_auth_missing: Option<String>,
        error_no_match: Option<String>,
        error_limits_exceeded: Option<String>,
        error_headers_auth_failed: Option<String>,
        error_headers_auth_missing: Option<String>,
        error_headers_no_match: Option<String>,
        error_headers_limits_exceeded: Option<String>,
        error_status_auth_failed: Option<u16>,
        error_status_auth_missing: Option<u16>,
        error_status_no_match: Option<u16>,
        error_status_limits_exceeded: Option<u16>,
        /// What gateways show private APIs.
        secret_token: Option<Secret>,
        hostname_rewrite: Option<String>,
        oauth_login_url: Option<TextOrSecret>,
        api_test_path: Option<String>,
        /// Has the client's secret in it, as a rule.
        oidc_issuer_endpoint: Option<TextOrSecret>,
        oidc_issuer_type: Option<String>,
        jwt_claim_with_client_id: Option<String>,
        jwt_claim_with_client_id_type: Option<String>,
        standard_flow_enabled: Option<bool>,
        implicit_flow_enabled: Option<bool>,
        service_accounts_enabled: Option<bool>,
        direct_access_grants_enabled: Option<bool>,
    }
}

record! {
    /// A policy of a chain. What its configuration has of secrets stands in the document.
    Policy "policy" [] {
        name: String,
        version: String,
        configuration: Free,
        /// Yes, if nothing is said.
        enabled: Option<bool>,
    }
}

record! {
    /// An organisation that owns applications.
    Account "account" ["org_name", "ordinal"] {
        org_name: String,
        /// From 2, of accounts that share their name, in the order in which they were made.
        ordinal: Option<u32>,
        /// Its account plan; empty: none.
        plan: Option<String>,
        /// `created`, `pending`, `approved` or `rejected`.
        state: Option<String>,
        monthly_billing_enabled: Option<bool>,
        monthly_charging_enabled: Option<bool>,
        /// In percent.
        vat_rate: Option<Amount>,
        annotations: Option<Free>,
        /// Fields that the tenant has defined.
        extra: Option<Free>,
        users: Option<Vec<User>>,
        subscriptions: Option<Vec<Subscription>>,
        applications: Option<Vec<Application>>,
    }
}

record! {
    /// A developer.
    User "user" ["username"] {
        username: String,
        email: Option<String>,
        /// `admin` or `member`.
        role: Option<String>,
        /// `pending`, `active` or `suspended`.
        state: Option<String>,
        /// The hash of the password: argon2id in the PHC form.
        password_hash: Option<Secret>,
        extra: Option<Free>,
    }
}

record! {
    /// That an account is subscribed to a service.
    Subscription "subscription" ["service"] {
        service: String,
        plan: Option<String>,
        /// `pending`, `live` or `suspended`.
        state: Option<String>,
    }
}

record! {
    /// Who calls.
    Application "application" ["service", "application_id"] {
        service: String,
        application_id: String,
        /// A new one needs it.
        plan: Option<String>,
        name: Option<String>,
        description: Option<String>,
        /// `live`, `pending` or `suspended`.
        state: Option<String>,
        user_key: Option<Secret>,
        keys: Option<Vec<Secret>>,
        referrer_filters: Option<Vec<String>>,
        redirect_url: Option<String>,
        extra: Option<Free>,
    }
}

impl Document {
    /// A document that says nothing yet.
    #[must_use]
    pub fn empty() -> Document {
        Document { version: VERSION, ..Document::default() }
    }
}
