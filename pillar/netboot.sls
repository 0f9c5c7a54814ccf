# What a netboot server offers. Every key is explained in docs/pillar.md; a mistyped one is named
# before anything is changed.
netboot:

  # Network interface on which clients are served. Left out: the one with the default route.
  # interface: eth0

  # ISOs by name; the name is what the menu shows. Address and checksum are all that is needed:
  # architecture, kernel, boot parameters and so on are read from the ISO itself.
  images:
    ALT Server 11.1:
      url: http://ftp.altlinux.org/pub/distributions/ALTLinux/p11/images/server/x86_64/alt-server-11.1-x86_64.iso
      checksum:
        # As its publisher's page has it. Fetching needs about 10 GB below /srv/export.
        sha512: 24367d9090efc42d1987b9cb155338e1ec00f86c5e2e31e5cde226c1f1b791836a8228749bedcc903b935b25dac5ccf6f1b7463279332ee096c26cb3fe754e0d

  # The image that the menu starts by itself, by architecture. Left out: the client's own disk.
  # Its live system; an installer only when that is said, as clients then install themselves.
  # default_image:
  #   x86_64: ALT Server 11.1
  # default_variant:
  #   x86_64: install

  menu:
    title: ALT Linux network boot
    timeout_s: 30

  # Machines that boot something of their own, by MAC address (in quotes), UUID or host name.
  # hosts:
  #   '52:54:00:12:34:56':
  #     image: ALT Server 11.1
  #     variant: install
  #     once: true  # one time, then from its own disk; again with netboot.arm host=...

  # proxy: beside the DHCP server that the network has, which stays as it is. server: instead of it,
  # with subnets. off: `salt 'netboot*' netboot.dhcp_hints` prints what the other server needs.
  dhcp:
    mode: proxy
    # subnets:
    #   192.0.2.0/24:
    #     range: [192.0.2.100, 192.0.2.199]
    #     router: 192.0.2.1
    #     dns: [192.0.2.1]
