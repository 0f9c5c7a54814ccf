# iPXE menus for the images that are ready.
{%- from "netboot/map.jinja" import order, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- if not problems %}

# Now, so that clients get a menu while ISOs are fetched; and again when all images are ready.
{%- for state, when in [('netboot-menus-before', none), ('netboot-menus', order.menus)] %}

{{ state }}:
  netboot_tftp.menus_written:
    - name: menus
    - template: salt://netboot/files/menu.ipxe.jinja
    - grub: salt://netboot/files/grub.cfg.jinja
    {%- if not when %}
    - final: false
    {%- else %}
    - order: {{ when }}
    {%- endif %}
    - require:
      - file: netboot-staging
{%- endfor %}
{%- endif %}
