# A netboot server, all that is enabled in the pillar. Each line can be applied alone.
# Menus and services come before the images, so that clients are served while an ISO is on its way.
{%- from "netboot/map.jinja" import config with context %}
include:
  - netboot.base
  - netboot.firmware
  - netboot.menus
  - netboot.dhcp
  - netboot.http
  - netboot.smb
  - netboot.ftp
  - netboot.nfs
  - netboot.once
  - netboot.firewall
  {%- if config.get('admins') %}
  - netboot.admins
  {%- endif %}
  - netboot.images
  - netboot.schedule
