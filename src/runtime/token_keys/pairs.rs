//! Pairs in a token: making, finding and destroying them.

use cryptoki::error::Error;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::mechanisms;
use crate::jose::{Algorithm, PublicJwk, RsaBits, VerifyingKey};

/// Makes a pair with this label that can sign and whose private half cannot be read out. Its `CKA_ID` becomes the
/// thumbprint of its public half.
pub(super) fn generate(
    session: &Session,
    algorithm: Algorithm,
    rsa_bits: RsaBits,
    label: &str,
) -> Result<PublicJwk, Error> {
    let (mechanism, own) = mechanisms::generation(algorithm, rsa_bits).ok_or(Error::NotSupported)?;
    let label = Attribute::Label(label.as_bytes().to_vec());
    let mut public_half =
        vec![Attribute::Token(true), Attribute::Private(false), Attribute::Verify(true), label.clone()];
    public_half.extend(own);
    let private_half = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        label,
    ];
    let (public, private) = session.generate_key_pair(&mechanism, &public_half, &private_half)?;
    let jwk = public_jwk(session, algorithm, public)?.ok_or(Error::InvalidValue)?;
    let id = [Attribute::Id(jwk.key_id().as_bytes().to_vec())];
    session.update_attributes(public, &id)?;
    session.update_attributes(private, &id)?;
    Ok(jwk)
}

/// Makes sure that both halves of a new pair are found by its `CKA_ID`, and that the private one signs what the public
/// one verifies. Or says what is wrong with it: a token can lose some of what it was told.
pub(super) fn prove(
    session: &Session,
    algorithm: Algorithm,
    made: &PublicJwk,
) -> Result<Result<(), &'static str>, Error> {
    // No JWS looks like this.
    let message = b"Is this the pair?";
    let Ok(verifying) = VerifyingKey::from_jwk(made) else {
        return Ok(Err("its public half is none"));
    };
    if keys(session, ObjectClass::PUBLIC_KEY, made.key_id())?.is_empty() {
        return Ok(Err("its public half is not found by its CKA_ID"));
    }
    let private = keys(session, ObjectClass::PRIVATE_KEY, made.key_id())?;
    if private.is_empty() {
        return Ok(Err("its private half is not found by its CKA_ID"));
    }
    for key in private {
        if verifying.has_signed(message, &mechanisms::sign(session, algorithm, key, message)?) {
            return Ok(Ok(()));
        }
    }
    Ok(Err("its public half does not verify what its private half signs"))
}

/// The public half, or `None` when it is not what the algorithm wants.
fn public_jwk(
    session: &Session,
    algorithm: Algorithm,
    key: ObjectHandle,
) -> Result<Option<PublicJwk>, Error> {
    let wanted = match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 => &[AttributeType::Modulus, AttributeType::PublicExponent][..],
        _ => &[AttributeType::EcPoint],
    };
    Ok(match &session.get_attributes(key, wanted)?[..] {
        [Attribute::Modulus(n), Attribute::PublicExponent(e)] => PublicJwk::from_rsa(algorithm, n, e),
        [Attribute::EcPoint(point)] => PublicJwk::from_point(algorithm, unwrapped(point))
            .or_else(|| PublicJwk::from_point(algorithm, point)),
        _ => None,
    })
}

/// What is in the DER octet string that `CKA_EC_POINT` is; some tokens give what is in it.
fn unwrapped(value: &[u8]) -> &[u8] {
    match value {
        [0x04, length, rest @ ..] if usize::from(*length) == rest.len() => rest,
        [0x04, 0x81, length, rest @ ..] if usize::from(*length) == rest.len() => rest,
        _ => value,
    }
}

/// The keys of this class with this `CKA_ID`.
pub(super) fn keys(session: &Session, class: ObjectClass, kid: &str) -> Result<Vec<ObjectHandle>, Error> {
    session.find_objects(&[Attribute::Class(class), Attribute::Id(kid.as_bytes().to_vec())])
}

/// Destroys both halves of the pair whose label or `CKA_ID` this is, except when its `CKA_ID` is `spared`.
/// Answers how many objects that was.
pub(super) fn destroy(session: &Session, name: &str, spared: &[String]) -> Result<usize, Error> {
    let mut destroyed = 0;
    for attribute in [Attribute::Label(name.as_bytes().to_vec()), Attribute::Id(name.as_bytes().to_vec())] {
        // Private halves first: half-way, nothing is left that could sign.
        for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
            for object in session.find_objects(&[Attribute::Class(class), attribute.clone()])? {
                let id = session.get_attributes(object, &[AttributeType::Id])?;
                let is_spared = |id: &[u8]| spared.iter().any(|kid| kid.as_bytes() == id);
                if !matches!(&id[..], [Attribute::Id(id)] if is_spared(id)) {
                    session.destroy_object(object)?;
                    destroyed += 1;
                }
            }
        }
    }
    Ok(destroyed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_taken_out_of_its_octet_string() {
        assert_eq!(unwrapped(&[0x04, 2, 7, 8]), [7, 8]);
        assert_eq!(unwrapped(&[0x04, 0x81, 2, 7, 8]), [7, 8]);
        assert_eq!(unwrapped(&[0x04, 7, 8]), [0x04, 7, 8]);
        assert!(unwrapped(&[]).is_empty());
    }
}
