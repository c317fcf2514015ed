"""What the RFCs require: each rule is a test that is named after its section.

``test_5_2_...`` is RFC 6455, section 5.2; in ``test_deflate.py`` the sections are those of RFC 7692. Rules about bytes
are tested on `anyws.protocol` in both roles, with the bytes split anywhere; rules about TCP and TLS on every event
loop.
"""
