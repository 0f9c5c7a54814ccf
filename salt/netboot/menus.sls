# iPXE menus for the images that are ready.
{%- from "netboot/map.jinja" import config, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if not problems %}

# Now, so that clients get a menu while ISOs are on their way; and again when all images are ready.
{%- for state, order in [('netboot-menus-before', none), ('netboot-menus', 90000)] %}

{{ state }}:
  netboot.menus_written:
    - name: {{ config.root }}/tftp
    - config: {{ config | json }}
    - template: salt://netboot/files/menu.ipxe.jinja
    - staging: {{ config.root }}/.staging
    {%- if order %}
    - order: {{ order }}
    {%- endif %}
    - require:
      - file: netboot-staging
{%- endfor %}
{%- endif %}
