# A netboot server: everything that is enabled in the pillar. Each line can be applied alone.
# Menus and services come before the images, so that clients are served during downloads.
{%- from "netboot/map.jinja" import config, order, problems with context %}

include:
  - netboot.base
{%- if config.get('mirror', 'off') != 'off' %}
  - netboot.mirror
{%- endif %}
{%- if config.get('mirror') != 'only' %}
  - netboot.firmware
  - netboot.menus
  - netboot.dhcp
  - netboot.http
  - netboot.clients
  - netboot.smb
  - netboot.ftp
  - netboot.nfs
  - netboot.once
  - netboot.firewall
  - netboot.admins
  - netboot.images
  - netboot.schedule
{%- endif %}
{%- if not problems %}
{%- if config.mirror != 'only' %}

netboot-cached:
  netboot.cached:
    - name: files of the menu
    - order: {{ order.cached }}
{%- endif %}
{%- if config.probe %}

netboot-bootable:
  netboot.bootable:
    - name: menu
    - order: {{ order.bootable }}
{%- endif %}

netboot-applied:
  netboot.applied:
    - name: summary
    - order: {{ order.applied }}
{%- endif %}
