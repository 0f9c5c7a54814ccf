# DHCP (beside the network's DHCP server, or instead of it) and TFTP: a separate dnsmasq, beside any
# dnsmasq that the machine already runs.
{%- from "netboot/map.jinja" import config, paths, problems, service_files with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
  - netboot.ports
{%- if not problems %}

netboot-dhcp-packages:
  netboot_packages.installed:
    - name: DHCP and TFTP
    - pkgs: {{ config.platform.packages.dhcp | json }}
    - silence: {{ config.platform.dnsmasq.silence | json }}

netboot-dhcp-config:
  file.managed:
    - name: {{ paths.dnsmasq }}
    - source: salt://netboot/files/dnsmasq.conf.jinja
    - template: jinja
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    - check_cmd: sh -c 'dnsmasq --test --conf-file="$0"'
    - require:
      - netboot_packages: netboot-dhcp-packages

netboot-dhcp-unit:
  netboot_file.written:
    - name: {{ paths.units }}/netboot-dnsmasq.service
    - source: salt://netboot/files/netboot-dnsmasq.service.jinja
    - require:
      - netboot_packages: netboot-dhcp-packages

netboot-dhcp-service:
  netboot_service.current:
    - name: netboot-dnsmasq
    - files: {{ service_files['netboot-dnsmasq'] | json }}
    - waits: true
    - require:
      - file: netboot-root
      - file: netboot-dhcp-config
      - netboot_file: netboot-dhcp-unit
{%- endif %}
