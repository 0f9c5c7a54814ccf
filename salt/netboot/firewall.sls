# Opens the ports of enabled services in firewalld or ufw, where one runs.
{%- from "netboot/map.jinja" import config, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if not problems %}

netboot-firewall:
  netboot_firewall.{{ 'opened' if config.firewall == 'auto' else 'closed' }}:
    - name: firewall
    - require:
      - netboot: netboot-config-applied
{%- endif %}
