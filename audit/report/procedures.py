"""What to do by hand where KMS does not rotate a key by itself: one procedure for each kind (rules E01 to E11)."""

from audit.report.language import Language


def procedure(rule: str, say: Language) -> str:
    """What takes the place of automatic rotation for keys of which this is the headline rule; empty for other rules.

    Sources: DEW user guide, key rotation overview (manual rotation), key sharing, replica keys; DEW API reference,
    RotateOnDemand and error codes.
    """
    told = {
        "E01": say(
            "KMS offers no rotation for a default key, and nobody but the service that made it manages it. Where "
            "rotation must be shown: make a custom key with rotation on, choose it in that service for new data, and "
            "have what is there encrypted anew."
        ),
        "E02": say(
            "Import new key material and rotate on demand (API rotate-on-demand, permission kms:cmk:rotateOnDemand), "
            "or make a new key, import the new material into it, and move the data over. Keep the old material: what "
            "was encrypted with it cannot be decrypted without it. File the date and the request id as evidence."
        ),
        "E03": say(
            "Make a new key pair and have applications sign or decrypt with it; hand its public key to those who "
            "verify or encrypt. Keep the old pair until nothing has to be verified or decrypted with it any more, "
            "then disable it. File both key ids and the date of the change as evidence."
        ),
        "E04": say(
            "Make a new HMAC key and have every party generate codes with it. Keep the old key until no code made "
            "with it has to be verified any more, then disable it. File both key ids and the date of the change as "
            "evidence."
        ),
        "E05": say(
            "KMS does not rotate keys of a custom keystore. Make a new key in that keystore, have applications use "
            "it, encrypt anew what is there, then disable the old key. Ask those who run the keystore for their "
            "records of it."
        ),
        "E06": say(
            "Only the owner can turn rotation on: the account that domain_id names. Ask for its report, made with "
            "its own credentials; what is seen from here is no evidence for it."
        ),
        "E07": say(
            "Turn rotation on at the primary key, in the region of the primary, and audit it there; a replica has no "
            "rotation of its own."
        ),
        "E08": say(
            "While a key is disabled it is not rotated, and its rotation cannot be changed. If it is needed, enable "
            "it and begin a new run; if not, schedule its deletion once nothing is encrypted with it any more."
        ),
        "E09": say(
            "A key that waits for its deletion is not rotated. Make sure that nothing has to be decrypted with it. "
            "If it is still needed, cancel the deletion, enable the key and begin a new run."
        ),
        "E10": say(
            "Import the material or activate the key, then begin a new run. A key with imported material is never "
            "rotated by KMS itself (E02)."
        ),
        "E11": say("Renew the service for which the key or the account was frozen, then begin a new run."),
    }
    return told.get(rule, "")
