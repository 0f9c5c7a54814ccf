# Which machines become netboot servers: those whose minion id (or name in the roster) starts with
# "netboot". Another choice is a line here, or `salt TARGET state.apply netboot` by hand.
base:
  'netboot*':
    - netboot
