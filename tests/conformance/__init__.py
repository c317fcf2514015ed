"""What the RFCs demand, each rule as a test that is named after its section.

``test_5_2_...`` is RFC 6455, 5.2; in ``test_deflate.py`` the sections are those of RFC 7692. A case of a table is one
sentence, and its id says which. Rules about bytes are tested on `anyws.protocol`, in both roles and in any pieces;
rules about TCP and TLS on every event loop.
"""
