# DHCP (beside the network's own, or instead of it) and TFTP: a dnsmasq of its own, beside whatever
# dnsmasq the machine already runs.
{%- from "netboot/map.jinja" import config, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
  - netboot.ports
{%- if not problems %}

netboot-dhcp-packages:
  netboot.packages_installed:
    - name: DHCP and TFTP
    - pkgs: {{ config.platform.packages.dhcp | json }}
    - silence: {{ config.platform.dnsmasq.silence | json }}

netboot-dhcp-config:
  file.managed:
    - name: /etc/netboot/dnsmasq.conf
    - source: salt://netboot/files/dnsmasq.conf.jinja
    - template: jinja
    - context:
        config: {{ config | json }}
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    - check_cmd: sh -c 'dnsmasq --test --conf-file="$0"'
    - require:
      - netboot: netboot-dhcp-packages

netboot-dhcp-unit:
  file.managed:
    - name: /etc/systemd/system/netboot-dnsmasq.service
    - source: salt://netboot/files/netboot-dnsmasq.service
    - template: jinja
    - context:
        clients: {{ config.dhcp.clients_at_once }}
        platform: {{ config.platform.dnsmasq | json }}
    - user: root
    - group: root
    - mode: '0644'
    - require:
      - netboot: netboot-dhcp-packages

netboot-dhcp-service:
  netboot_service.current:
    - name: netboot-dnsmasq
    - files: [/etc/netboot/dnsmasq.conf, /etc/systemd/system/netboot-dnsmasq.service]
    - require:
      - file: netboot-root
      - file: netboot-dhcp-config
      - file: netboot-dhcp-unit
{%- endif %}
