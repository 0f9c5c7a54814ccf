# Accounts of the people who look after this server.
{%- from "netboot/map.jinja" import config, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if not problems %}
{%- if config.admins %}

netboot-admins-packages:
  netboot.packages_installed:
    - name: sudo
    - pkgs: {{ config.platform.packages.admins | json }}
{%- endif %}

netboot-admins:
  netboot_admins.{{ 'present' if config.admins else 'absent' }}:
    - name: admins
    {%- if config.admins %}
    - admins: {{ config.admins | json }}
    - groups: {{ config.platform.admins.groups | json }}
    - require:
      - netboot: netboot-admins-packages
    {%- endif %}
{%- endif %}
