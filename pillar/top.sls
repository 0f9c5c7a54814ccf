base:
  'netboot*':
    - netboot
