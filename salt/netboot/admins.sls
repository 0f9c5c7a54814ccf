# Accounts of this server's admins.
{%- from "netboot/map.jinja" import config, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if not problems %}
{%- if config.admins %}

netboot-admins-packages:
  netboot_packages.installed:
    - name: sudo
    - pkgs: {{ config.platform.packages.admins | json }}
{%- endif %}

netboot-admins:
  netboot_admins.{{ 'present' if config.admins else 'absent' }}:
    - name: admins
    {%- if config.admins %}
    - require:
      - netboot_packages: netboot-admins-packages
    {%- endif %}
{%- endif %}
