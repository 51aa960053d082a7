//! The OpenAPI description of every route: what utoipa derives from the handlers, and what it cannot derive.

mod answers;
mod composed;

use utoipa::OpenApi;
use utoipa::openapi::content::Content;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{
    ClientCredentials, Flow, HttpAuthScheme, HttpBuilder, OAuth2, SecurityScheme,
};
use utoipa::openapi::{RefOr, Required, Schema};

use self::answers::About;
use self::composed::Examples;
use super::routes;
use crate::domain::builtin;

/// What no handler says.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Jeton",
        description = "An OAuth 2 / OpenID Connect authorization server for non-human identities.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "The issuer")),
    tags(
        (name = "OAuth", description = "Tokens, and what verifiers need"),
        (name = "Clients", description = "Registered non-human identities"),
        (name = "Client secrets", description = "What clients prove themselves with"),
        (name = "Client certificates", description = "What clients prove themselves with over mutual TLS"),
        (name = "Client keys", description = "Public keys that clients sign assertions for"),
        (name = "Federated credentials", description = "Whose tokens prove a client"),
        (name = "Client roles", description = "Which roles a client has"),
        (name = "Resource servers", description = "APIs that accept tokens, and their permissions"),
        (name = "Operators", description = "Which clients operate a resource server"),
        (name = "Roles", description = "Named sets of permissions"),
        (name = "Exchange rules", description = "Who may pass whose identity on, towards what"),
        (name = "Trusted issuers", description = "Whose tokens count beside our own"),
        (name = "Signing keys", description = "What tokens are signed with, and when that changes"),
        (name = "Revocations", description = "Tokens taken back before their end"),
        (name = "Administrators", description = "People who administer, and their links to set a password"),
        (name = "Audit", description = "What was done, by whom, and what was refused"),
        (name = "Statistics", description = "How many tokens and refusals, and who acts for whom"),
    )
)]
pub(super) struct Description;

/// The OpenAPI description of every route.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut openapi = routes().split_for_parts().1;
    let scopes = builtin::PERMISSIONS.iter().map(|(permission, description, _)| (*permission, *description));
    let flow = Flow::ClientCredentials(ClientCredentials::new("/oauth2/token", scopes.collect()));
    let components = openapi.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::OAuth2(OAuth2::new([flow])));
    components.add_security_scheme(
        "client",
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Basic).build()),
    );
    let examples = Examples::new(components);
    for (path, item) in &mut openapi.paths.paths {
        for operation in operations(item) {
            describe(path, operation, &examples);
        }
    }
    openapi
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

/// Gives an operation an example of its request and of each answer.
fn describe(path: &str, operation: &mut Operation, examples: &Examples) {
    let about = About::new(path, operation, examples);
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        // Nothing at all stands for an empty object, where every field may be left out.
        let schema = body.content.values().next().and_then(|content| match content {
            RefOr::T(content) => content.schema.as_ref(),
            RefOr::Ref(_) => None,
        });
        if schema.is_some_and(|schema| examples.all_optional(schema)) {
            body.required = Some(Required::False);
        }
        for content in body.content.values_mut() {
            set_example(content, |schema| examples.of(schema));
        }
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let header = match status.as_str() {
            "401" => Some(("WWW-Authenticate", "How to authenticate")),
            "503" => Some(("Retry-After", "Seconds after which to try again")),
            _ => None,
        };
        if let Some((name, description)) = header {
            let text = ObjectBuilder::new().schema_type(Type::String);
            let header = HeaderBuilder::new().schema(Some(text)).description(Some(description)).build();
            response.headers.insert(name.to_owned(), RefOr::T(header));
        }
        for content in response.content.values_mut() {
            set_example(content, |schema| {
                if status.starts_with('2') { about.answer(examples, schema) } else { about.refusal(status) }
            });
        }
    }
}

fn set_example(
    content: &mut RefOr<Content>,
    example: impl FnOnce(&RefOr<Schema>) -> Option<serde_json::Value>,
) {
    if let RefOr::T(content) = content
        && content.example.is_none()
        && let Some(schema) = &content.schema
    {
        content.example = example(schema);
    }
}
