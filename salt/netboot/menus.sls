# iPXE menus for the images that are ready.
{%- from "netboot/map.jinja" import config, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if not problems %}

netboot-menus:
  netboot.menus_written:
    - name: {{ config.root }}/tftp
    - config: {{ config | json }}
    - template: salt://netboot/files/menu.ipxe.jinja
    - staging: {{ config.root }}/.staging
    - require:
      - file: netboot-staging
{%- endif %}
