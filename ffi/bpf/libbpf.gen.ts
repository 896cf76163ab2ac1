// Generated from tools/libbpf_anchors.c. Do not edit; make it again with:
//   deno run -A tools/layout.ts --named bpf_map_type --c tools/libbpf_anchors.c -o ffi/bpf/libbpf.gen.ts

import { getBytes, setBytes, setZero } from "./layout_io.ts";

/** `struct bpf_object_open_opts` */
export interface BpfObjectOpenOpts {
  sz: bigint;
  objectName: bigint;
  relaxedMaps: number;
  pinRootPath: bigint;
  kconfig: bigint;
  btfCustomPath: bigint;
  kernelLogBuf: bigint;
  kernelLogSize: bigint;
  kernelLogLevel: number;
}

/** `struct bpf_object_open_opts`: 80 bytes. */
export const BpfObjectOpenOpts = {
  size: 80,
  offset: {
    sz: 0,
    objectName: 8,
    relaxedMaps: 16,
    pinRootPath: 24,
    kconfig: 40,
    btfCustomPath: 48,
    kernelLogBuf: 56,
    kernelLogSize: 64,
    kernelLogLevel: 72,
  },
  read(view: DataView, at = 0): BpfObjectOpenOpts {
    return {
      sz: view.getBigUint64(at, true),
      objectName: view.getBigUint64(at + 8, true),
      relaxedMaps: view.getUint8(at + 16),
      pinRootPath: view.getBigUint64(at + 24, true),
      kconfig: view.getBigUint64(at + 40, true),
      btfCustomPath: view.getBigUint64(at + 48, true),
      kernelLogBuf: view.getBigUint64(at + 56, true),
      kernelLogSize: view.getBigUint64(at + 64, true),
      kernelLogLevel: view.getUint32(at + 72, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfObjectOpenOpts>): void {
    setZero(view, at, 80);
    view.setBigUint64(at, value.sz ?? 80n, true);
    if (value.objectName !== undefined) view.setBigUint64(at + 8, value.objectName, true);
    if (value.relaxedMaps !== undefined) view.setUint8(at + 16, value.relaxedMaps);
    if (value.pinRootPath !== undefined) view.setBigUint64(at + 24, value.pinRootPath, true);
    if (value.kconfig !== undefined) view.setBigUint64(at + 40, value.kconfig, true);
    if (value.btfCustomPath !== undefined) view.setBigUint64(at + 48, value.btfCustomPath, true);
    if (value.kernelLogBuf !== undefined) view.setBigUint64(at + 56, value.kernelLogBuf, true);
    if (value.kernelLogSize !== undefined) view.setBigUint64(at + 64, value.kernelLogSize, true);
    if (value.kernelLogLevel !== undefined) view.setUint32(at + 72, value.kernelLogLevel, true);
  },
} as const;

/** `struct bpf_map_create_opts` */
export interface BpfMapCreateOpts {
  sz: bigint;
  btfFd: number;
  btfKeyTypeId: number;
  btfValueTypeId: number;
  btfVmlinuxValueTypeId: number;
  innerMapFd: number;
  mapFlags: number;
  mapExtra: bigint;
  numaNode: number;
  mapIfindex: number;
}

/** `struct bpf_map_create_opts`: 48 bytes. */
export const BpfMapCreateOpts = {
  size: 48,
  offset: {
    sz: 0,
    btfFd: 8,
    btfKeyTypeId: 12,
    btfValueTypeId: 16,
    btfVmlinuxValueTypeId: 20,
    innerMapFd: 24,
    mapFlags: 28,
    mapExtra: 32,
    numaNode: 40,
    mapIfindex: 44,
  },
  read(view: DataView, at = 0): BpfMapCreateOpts {
    return {
      sz: view.getBigUint64(at, true),
      btfFd: view.getUint32(at + 8, true),
      btfKeyTypeId: view.getUint32(at + 12, true),
      btfValueTypeId: view.getUint32(at + 16, true),
      btfVmlinuxValueTypeId: view.getUint32(at + 20, true),
      innerMapFd: view.getUint32(at + 24, true),
      mapFlags: view.getUint32(at + 28, true),
      mapExtra: view.getBigUint64(at + 32, true),
      numaNode: view.getUint32(at + 40, true),
      mapIfindex: view.getUint32(at + 44, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfMapCreateOpts>): void {
    setZero(view, at, 48);
    view.setBigUint64(at, value.sz ?? 48n, true);
    if (value.btfFd !== undefined) view.setUint32(at + 8, value.btfFd, true);
    if (value.btfKeyTypeId !== undefined) view.setUint32(at + 12, value.btfKeyTypeId, true);
    if (value.btfValueTypeId !== undefined) view.setUint32(at + 16, value.btfValueTypeId, true);
    if (value.btfVmlinuxValueTypeId !== undefined) {
      view.setUint32(at + 20, value.btfVmlinuxValueTypeId, true);
    }
    if (value.innerMapFd !== undefined) view.setUint32(at + 24, value.innerMapFd, true);
    if (value.mapFlags !== undefined) view.setUint32(at + 28, value.mapFlags, true);
    if (value.mapExtra !== undefined) view.setBigUint64(at + 32, value.mapExtra, true);
    if (value.numaNode !== undefined) view.setUint32(at + 40, value.numaNode, true);
    if (value.mapIfindex !== undefined) view.setUint32(at + 44, value.mapIfindex, true);
  },
} as const;

/** `struct bpf_prog_load_opts` */
export interface BpfProgLoadOpts {
  sz: bigint;
  attempts: number;
  expectedAttachType: number;
  progBtfFd: number;
  progFlags: number;
  progIfindex: number;
  kernVersion: number;
  attachBtfId: number;
  attachProgFd: number;
  attachBtfObjFd: number;
  fdArray: bigint;
  funcInfo: bigint;
  funcInfoCnt: number;
  funcInfoRecSize: number;
  lineInfo: bigint;
  lineInfoCnt: number;
  lineInfoRecSize: number;
  logLevel: number;
  logSize: number;
  logBuf: bigint;
}

/** `struct bpf_prog_load_opts`: 104 bytes. */
export const BpfProgLoadOpts = {
  size: 104,
  offset: {
    sz: 0,
    attempts: 8,
    expectedAttachType: 12,
    progBtfFd: 16,
    progFlags: 20,
    progIfindex: 24,
    kernVersion: 28,
    attachBtfId: 32,
    attachProgFd: 36,
    attachBtfObjFd: 40,
    fdArray: 48,
    funcInfo: 56,
    funcInfoCnt: 64,
    funcInfoRecSize: 68,
    lineInfo: 72,
    lineInfoCnt: 80,
    lineInfoRecSize: 84,
    logLevel: 88,
    logSize: 92,
    logBuf: 96,
  },
  read(view: DataView, at = 0): BpfProgLoadOpts {
    return {
      sz: view.getBigUint64(at, true),
      attempts: view.getInt32(at + 8, true),
      expectedAttachType: view.getUint32(at + 12, true),
      progBtfFd: view.getUint32(at + 16, true),
      progFlags: view.getUint32(at + 20, true),
      progIfindex: view.getUint32(at + 24, true),
      kernVersion: view.getUint32(at + 28, true),
      attachBtfId: view.getUint32(at + 32, true),
      attachProgFd: view.getUint32(at + 36, true),
      attachBtfObjFd: view.getUint32(at + 40, true),
      fdArray: view.getBigUint64(at + 48, true),
      funcInfo: view.getBigUint64(at + 56, true),
      funcInfoCnt: view.getUint32(at + 64, true),
      funcInfoRecSize: view.getUint32(at + 68, true),
      lineInfo: view.getBigUint64(at + 72, true),
      lineInfoCnt: view.getUint32(at + 80, true),
      lineInfoRecSize: view.getUint32(at + 84, true),
      logLevel: view.getUint32(at + 88, true),
      logSize: view.getUint32(at + 92, true),
      logBuf: view.getBigUint64(at + 96, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfProgLoadOpts>): void {
    setZero(view, at, 104);
    view.setBigUint64(at, value.sz ?? 104n, true);
    if (value.attempts !== undefined) view.setInt32(at + 8, value.attempts, true);
    if (value.expectedAttachType !== undefined) {
      view.setUint32(at + 12, value.expectedAttachType, true);
    }
    if (value.progBtfFd !== undefined) view.setUint32(at + 16, value.progBtfFd, true);
    if (value.progFlags !== undefined) view.setUint32(at + 20, value.progFlags, true);
    if (value.progIfindex !== undefined) view.setUint32(at + 24, value.progIfindex, true);
    if (value.kernVersion !== undefined) view.setUint32(at + 28, value.kernVersion, true);
    if (value.attachBtfId !== undefined) view.setUint32(at + 32, value.attachBtfId, true);
    if (value.attachProgFd !== undefined) view.setUint32(at + 36, value.attachProgFd, true);
    if (value.attachBtfObjFd !== undefined) view.setUint32(at + 40, value.attachBtfObjFd, true);
    if (value.fdArray !== undefined) view.setBigUint64(at + 48, value.fdArray, true);
    if (value.funcInfo !== undefined) view.setBigUint64(at + 56, value.funcInfo, true);
    if (value.funcInfoCnt !== undefined) view.setUint32(at + 64, value.funcInfoCnt, true);
    if (value.funcInfoRecSize !== undefined) view.setUint32(at + 68, value.funcInfoRecSize, true);
    if (value.lineInfo !== undefined) view.setBigUint64(at + 72, value.lineInfo, true);
    if (value.lineInfoCnt !== undefined) view.setUint32(at + 80, value.lineInfoCnt, true);
    if (value.lineInfoRecSize !== undefined) view.setUint32(at + 84, value.lineInfoRecSize, true);
    if (value.logLevel !== undefined) view.setUint32(at + 88, value.logLevel, true);
    if (value.logSize !== undefined) view.setUint32(at + 92, value.logSize, true);
    if (value.logBuf !== undefined) view.setBigUint64(at + 96, value.logBuf, true);
  },
} as const;

/** `struct bpf_test_run_opts` */
export interface BpfTestRunOpts {
  sz: bigint;
  dataIn: bigint;
  dataOut: bigint;
  dataSizeIn: number;
  dataSizeOut: number;
  ctxIn: bigint;
  ctxOut: bigint;
  ctxSizeIn: number;
  ctxSizeOut: number;
  retval: number;
  repeat: number;
  duration: number;
  flags: number;
  cpu: number;
  batchSize: number;
}

/** `struct bpf_test_run_opts`: 80 bytes. */
export const BpfTestRunOpts = {
  size: 80,
  offset: {
    sz: 0,
    dataIn: 8,
    dataOut: 16,
    dataSizeIn: 24,
    dataSizeOut: 28,
    ctxIn: 32,
    ctxOut: 40,
    ctxSizeIn: 48,
    ctxSizeOut: 52,
    retval: 56,
    repeat: 60,
    duration: 64,
    flags: 68,
    cpu: 72,
    batchSize: 76,
  },
  read(view: DataView, at = 0): BpfTestRunOpts {
    return {
      sz: view.getBigUint64(at, true),
      dataIn: view.getBigUint64(at + 8, true),
      dataOut: view.getBigUint64(at + 16, true),
      dataSizeIn: view.getUint32(at + 24, true),
      dataSizeOut: view.getUint32(at + 28, true),
      ctxIn: view.getBigUint64(at + 32, true),
      ctxOut: view.getBigUint64(at + 40, true),
      ctxSizeIn: view.getUint32(at + 48, true),
      ctxSizeOut: view.getUint32(at + 52, true),
      retval: view.getUint32(at + 56, true),
      repeat: view.getInt32(at + 60, true),
      duration: view.getUint32(at + 64, true),
      flags: view.getUint32(at + 68, true),
      cpu: view.getUint32(at + 72, true),
      batchSize: view.getUint32(at + 76, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfTestRunOpts>): void {
    setZero(view, at, 80);
    view.setBigUint64(at, value.sz ?? 80n, true);
    if (value.dataIn !== undefined) view.setBigUint64(at + 8, value.dataIn, true);
    if (value.dataOut !== undefined) view.setBigUint64(at + 16, value.dataOut, true);
    if (value.dataSizeIn !== undefined) view.setUint32(at + 24, value.dataSizeIn, true);
    if (value.dataSizeOut !== undefined) view.setUint32(at + 28, value.dataSizeOut, true);
    if (value.ctxIn !== undefined) view.setBigUint64(at + 32, value.ctxIn, true);
    if (value.ctxOut !== undefined) view.setBigUint64(at + 40, value.ctxOut, true);
    if (value.ctxSizeIn !== undefined) view.setUint32(at + 48, value.ctxSizeIn, true);
    if (value.ctxSizeOut !== undefined) view.setUint32(at + 52, value.ctxSizeOut, true);
    if (value.retval !== undefined) view.setUint32(at + 56, value.retval, true);
    if (value.repeat !== undefined) view.setInt32(at + 60, value.repeat, true);
    if (value.duration !== undefined) view.setUint32(at + 64, value.duration, true);
    if (value.flags !== undefined) view.setUint32(at + 68, value.flags, true);
    if (value.cpu !== undefined) view.setUint32(at + 72, value.cpu, true);
    if (value.batchSize !== undefined) view.setUint32(at + 76, value.batchSize, true);
  },
} as const;

/** `struct bpf_map_batch_opts` */
export interface BpfMapBatchOpts {
  sz: bigint;
  elemFlags: bigint;
  flags: bigint;
}

/** `struct bpf_map_batch_opts`: 24 bytes. */
export const BpfMapBatchOpts = {
  size: 24,
  offset: { sz: 0, elemFlags: 8, flags: 16 },
  read(view: DataView, at = 0): BpfMapBatchOpts {
    return {
      sz: view.getBigUint64(at, true),
      elemFlags: view.getBigUint64(at + 8, true),
      flags: view.getBigUint64(at + 16, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfMapBatchOpts>): void {
    setZero(view, at, 24);
    view.setBigUint64(at, value.sz ?? 24n, true);
    if (value.elemFlags !== undefined) view.setBigUint64(at + 8, value.elemFlags, true);
    if (value.flags !== undefined) view.setBigUint64(at + 16, value.flags, true);
  },
} as const;

/** `struct bpf_link_create_opts` */
export interface BpfLinkCreateOpts {
  sz: bigint;
  flags: number;
  iterInfo: bigint;
  iterInfoLen: number;
  targetBtfId: number;
  // Members of unions are only in `offset`: the struct alone does not tell which one holds.
}

/** `struct bpf_link_create_opts`: 64 bytes. */
export const BpfLinkCreateOpts = {
  size: 64,
  offset: {
    sz: 0,
    flags: 8,
    iterInfo: 16,
    iterInfoLen: 24,
    targetBtfId: 28,
    perfEventBpfCookie: 32,
    kprobeMultiFlags: 32,
    kprobeMultiCnt: 36,
    kprobeMultiSyms: 40,
    kprobeMultiAddrs: 48,
    kprobeMultiCookies: 56,
    tracingCookie: 32,
  },
  read(view: DataView, at = 0): BpfLinkCreateOpts {
    return {
      sz: view.getBigUint64(at, true),
      flags: view.getUint32(at + 8, true),
      iterInfo: view.getBigUint64(at + 16, true),
      iterInfoLen: view.getUint32(at + 24, true),
      targetBtfId: view.getUint32(at + 28, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfLinkCreateOpts>): void {
    setZero(view, at, 64);
    view.setBigUint64(at, value.sz ?? 64n, true);
    if (value.flags !== undefined) view.setUint32(at + 8, value.flags, true);
    if (value.iterInfo !== undefined) view.setBigUint64(at + 16, value.iterInfo, true);
    if (value.iterInfoLen !== undefined) view.setUint32(at + 24, value.iterInfoLen, true);
    if (value.targetBtfId !== undefined) view.setUint32(at + 28, value.targetBtfId, true);
  },
} as const;

/** `struct bpf_link_update_opts` */
export interface BpfLinkUpdateOpts {
  sz: bigint;
  flags: number;
  oldProgFd: number;
}

/** `struct bpf_link_update_opts`: 16 bytes. */
export const BpfLinkUpdateOpts = {
  size: 16,
  offset: { sz: 0, flags: 8, oldProgFd: 12 },
  read(view: DataView, at = 0): BpfLinkUpdateOpts {
    return {
      sz: view.getBigUint64(at, true),
      flags: view.getUint32(at + 8, true),
      oldProgFd: view.getUint32(at + 12, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfLinkUpdateOpts>): void {
    setZero(view, at, 16);
    view.setBigUint64(at, value.sz ?? 16n, true);
    if (value.flags !== undefined) view.setUint32(at + 8, value.flags, true);
    if (value.oldProgFd !== undefined) view.setUint32(at + 12, value.oldProgFd, true);
  },
} as const;

/** `struct bpf_xdp_attach_opts` */
export interface BpfXdpAttachOpts {
  sz: bigint;
  oldProgFd: number;
}

/** `struct bpf_xdp_attach_opts`: 16 bytes. */
export const BpfXdpAttachOpts = {
  size: 16,
  offset: { sz: 0, oldProgFd: 8 },
  read(view: DataView, at = 0): BpfXdpAttachOpts {
    return {
      sz: view.getBigUint64(at, true),
      oldProgFd: view.getInt32(at + 8, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfXdpAttachOpts>): void {
    setZero(view, at, 16);
    view.setBigUint64(at, value.sz ?? 16n, true);
    if (value.oldProgFd !== undefined) view.setInt32(at + 8, value.oldProgFd, true);
  },
} as const;

/** `struct bpf_xdp_query_opts` */
export interface BpfXdpQueryOpts {
  sz: bigint;
  progId: number;
  drvProgId: number;
  hwProgId: number;
  skbProgId: number;
  attachMode: number;
}

/** `struct bpf_xdp_query_opts`: 32 bytes. */
export const BpfXdpQueryOpts = {
  size: 32,
  offset: { sz: 0, progId: 8, drvProgId: 12, hwProgId: 16, skbProgId: 20, attachMode: 24 },
  read(view: DataView, at = 0): BpfXdpQueryOpts {
    return {
      sz: view.getBigUint64(at, true),
      progId: view.getUint32(at + 8, true),
      drvProgId: view.getUint32(at + 12, true),
      hwProgId: view.getUint32(at + 16, true),
      skbProgId: view.getUint32(at + 20, true),
      attachMode: view.getUint8(at + 24),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfXdpQueryOpts>): void {
    setZero(view, at, 32);
    view.setBigUint64(at, value.sz ?? 32n, true);
    if (value.progId !== undefined) view.setUint32(at + 8, value.progId, true);
    if (value.drvProgId !== undefined) view.setUint32(at + 12, value.drvProgId, true);
    if (value.hwProgId !== undefined) view.setUint32(at + 16, value.hwProgId, true);
    if (value.skbProgId !== undefined) view.setUint32(at + 20, value.skbProgId, true);
    if (value.attachMode !== undefined) view.setUint8(at + 24, value.attachMode);
  },
} as const;

/** `struct bpf_tc_hook` */
export interface BpfTcHook {
  sz: bigint;
  ifindex: number;
  attachPoint: number;
  parent: number;
}

/** `struct bpf_tc_hook`: 24 bytes. */
export const BpfTcHook = {
  size: 24,
  offset: { sz: 0, ifindex: 8, attachPoint: 12, parent: 16 },
  read(view: DataView, at = 0): BpfTcHook {
    return {
      sz: view.getBigUint64(at, true),
      ifindex: view.getInt32(at + 8, true),
      attachPoint: view.getUint32(at + 12, true),
      parent: view.getUint32(at + 16, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfTcHook>): void {
    setZero(view, at, 24);
    view.setBigUint64(at, value.sz ?? 24n, true);
    if (value.ifindex !== undefined) view.setInt32(at + 8, value.ifindex, true);
    if (value.attachPoint !== undefined) view.setUint32(at + 12, value.attachPoint, true);
    if (value.parent !== undefined) view.setUint32(at + 16, value.parent, true);
  },
} as const;

/** `struct bpf_tc_opts` */
export interface BpfTcOpts {
  sz: bigint;
  progFd: number;
  flags: number;
  progId: number;
  handle: number;
  priority: number;
}

/** `struct bpf_tc_opts`: 32 bytes. */
export const BpfTcOpts = {
  size: 32,
  offset: { sz: 0, progFd: 8, flags: 12, progId: 16, handle: 20, priority: 24 },
  read(view: DataView, at = 0): BpfTcOpts {
    return {
      sz: view.getBigUint64(at, true),
      progFd: view.getInt32(at + 8, true),
      flags: view.getUint32(at + 12, true),
      progId: view.getUint32(at + 16, true),
      handle: view.getUint32(at + 20, true),
      priority: view.getUint32(at + 24, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfTcOpts>): void {
    setZero(view, at, 32);
    view.setBigUint64(at, value.sz ?? 32n, true);
    if (value.progFd !== undefined) view.setInt32(at + 8, value.progFd, true);
    if (value.flags !== undefined) view.setUint32(at + 12, value.flags, true);
    if (value.progId !== undefined) view.setUint32(at + 16, value.progId, true);
    if (value.handle !== undefined) view.setUint32(at + 20, value.handle, true);
    if (value.priority !== undefined) view.setUint32(at + 24, value.priority, true);
  },
} as const;

/** `struct bpf_map_info` */
export interface BpfMapInfo {
  type: number;
  id: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  mapFlags: number;
  name: Uint8Array;
  ifindex: number;
  btfVmlinuxValueTypeId: number;
  netnsDev: bigint;
  netnsIno: bigint;
  btfId: number;
  btfKeyTypeId: number;
  btfValueTypeId: number;
  mapExtra: bigint;
}

/** `struct bpf_map_info`: 88 bytes. */
export const BpfMapInfo = {
  size: 88,
  offset: {
    type: 0,
    id: 4,
    keySize: 8,
    valueSize: 12,
    maxEntries: 16,
    mapFlags: 20,
    name: 24,
    ifindex: 40,
    btfVmlinuxValueTypeId: 44,
    netnsDev: 48,
    netnsIno: 56,
    btfId: 64,
    btfKeyTypeId: 68,
    btfValueTypeId: 72,
    mapExtra: 80,
  },
  read(view: DataView, at = 0): BpfMapInfo {
    return {
      type: view.getUint32(at, true),
      id: view.getUint32(at + 4, true),
      keySize: view.getUint32(at + 8, true),
      valueSize: view.getUint32(at + 12, true),
      maxEntries: view.getUint32(at + 16, true),
      mapFlags: view.getUint32(at + 20, true),
      name: getBytes(view, at + 24, 16),
      ifindex: view.getUint32(at + 40, true),
      btfVmlinuxValueTypeId: view.getUint32(at + 44, true),
      netnsDev: view.getBigUint64(at + 48, true),
      netnsIno: view.getBigUint64(at + 56, true),
      btfId: view.getUint32(at + 64, true),
      btfKeyTypeId: view.getUint32(at + 68, true),
      btfValueTypeId: view.getUint32(at + 72, true),
      mapExtra: view.getBigUint64(at + 80, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfMapInfo>): void {
    setZero(view, at, 88);
    if (value.type !== undefined) view.setUint32(at, value.type, true);
    if (value.id !== undefined) view.setUint32(at + 4, value.id, true);
    if (value.keySize !== undefined) view.setUint32(at + 8, value.keySize, true);
    if (value.valueSize !== undefined) view.setUint32(at + 12, value.valueSize, true);
    if (value.maxEntries !== undefined) view.setUint32(at + 16, value.maxEntries, true);
    if (value.mapFlags !== undefined) view.setUint32(at + 20, value.mapFlags, true);
    if (value.name !== undefined) setBytes(view, at + 24, value.name, 16, "BpfMapInfo.name");
    if (value.ifindex !== undefined) view.setUint32(at + 40, value.ifindex, true);
    if (value.btfVmlinuxValueTypeId !== undefined) {
      view.setUint32(at + 44, value.btfVmlinuxValueTypeId, true);
    }
    if (value.netnsDev !== undefined) view.setBigUint64(at + 48, value.netnsDev, true);
    if (value.netnsIno !== undefined) view.setBigUint64(at + 56, value.netnsIno, true);
    if (value.btfId !== undefined) view.setUint32(at + 64, value.btfId, true);
    if (value.btfKeyTypeId !== undefined) view.setUint32(at + 68, value.btfKeyTypeId, true);
    if (value.btfValueTypeId !== undefined) view.setUint32(at + 72, value.btfValueTypeId, true);
    if (value.mapExtra !== undefined) view.setBigUint64(at + 80, value.mapExtra, true);
  },
} as const;

/** `struct bpf_prog_info` */
export interface BpfProgInfo {
  type: number;
  id: number;
  tag: Uint8Array;
  jitedProgLen: number;
  xlatedProgLen: number;
  jitedProgInsns: bigint;
  xlatedProgInsns: bigint;
  loadTime: bigint;
  createdByUid: number;
  nrMapIds: number;
  mapIds: bigint;
  name: Uint8Array;
  ifindex: number;
  netnsDev: bigint;
  netnsIno: bigint;
  nrJitedKsyms: number;
  nrJitedFuncLens: number;
  jitedKsyms: bigint;
  jitedFuncLens: bigint;
  btfId: number;
  funcInfoRecSize: number;
  funcInfo: bigint;
  nrFuncInfo: number;
  nrLineInfo: number;
  lineInfo: bigint;
  jitedLineInfo: bigint;
  nrJitedLineInfo: number;
  lineInfoRecSize: number;
  jitedLineInfoRecSize: number;
  nrProgTags: number;
  progTags: bigint;
  runTimeNs: bigint;
  runCnt: bigint;
  recursionMisses: bigint;
  verifiedInsns: number;
  attachBtfObjId: number;
  attachBtfId: number;
  // Left out: gpl_compatible (bit field)
}

/** `struct bpf_prog_info`: 232 bytes. */
export const BpfProgInfo = {
  size: 232,
  offset: {
    type: 0,
    id: 4,
    tag: 8,
    jitedProgLen: 16,
    xlatedProgLen: 20,
    jitedProgInsns: 24,
    xlatedProgInsns: 32,
    loadTime: 40,
    createdByUid: 48,
    nrMapIds: 52,
    mapIds: 56,
    name: 64,
    ifindex: 80,
    netnsDev: 88,
    netnsIno: 96,
    nrJitedKsyms: 104,
    nrJitedFuncLens: 108,
    jitedKsyms: 112,
    jitedFuncLens: 120,
    btfId: 128,
    funcInfoRecSize: 132,
    funcInfo: 136,
    nrFuncInfo: 144,
    nrLineInfo: 148,
    lineInfo: 152,
    jitedLineInfo: 160,
    nrJitedLineInfo: 168,
    lineInfoRecSize: 172,
    jitedLineInfoRecSize: 176,
    nrProgTags: 180,
    progTags: 184,
    runTimeNs: 192,
    runCnt: 200,
    recursionMisses: 208,
    verifiedInsns: 216,
    attachBtfObjId: 220,
    attachBtfId: 224,
  },
  read(view: DataView, at = 0): BpfProgInfo {
    return {
      type: view.getUint32(at, true),
      id: view.getUint32(at + 4, true),
      tag: getBytes(view, at + 8, 8),
      jitedProgLen: view.getUint32(at + 16, true),
      xlatedProgLen: view.getUint32(at + 20, true),
      jitedProgInsns: view.getBigUint64(at + 24, true),
      xlatedProgInsns: view.getBigUint64(at + 32, true),
      loadTime: view.getBigUint64(at + 40, true),
      createdByUid: view.getUint32(at + 48, true),
      nrMapIds: view.getUint32(at + 52, true),
      mapIds: view.getBigUint64(at + 56, true),
      name: getBytes(view, at + 64, 16),
      ifindex: view.getUint32(at + 80, true),
      netnsDev: view.getBigUint64(at + 88, true),
      netnsIno: view.getBigUint64(at + 96, true),
      nrJitedKsyms: view.getUint32(at + 104, true),
      nrJitedFuncLens: view.getUint32(at + 108, true),
      jitedKsyms: view.getBigUint64(at + 112, true),
      jitedFuncLens: view.getBigUint64(at + 120, true),
      btfId: view.getUint32(at + 128, true),
      funcInfoRecSize: view.getUint32(at + 132, true),
      funcInfo: view.getBigUint64(at + 136, true),
      nrFuncInfo: view.getUint32(at + 144, true),
      nrLineInfo: view.getUint32(at + 148, true),
      lineInfo: view.getBigUint64(at + 152, true),
      jitedLineInfo: view.getBigUint64(at + 160, true),
      nrJitedLineInfo: view.getUint32(at + 168, true),
      lineInfoRecSize: view.getUint32(at + 172, true),
      jitedLineInfoRecSize: view.getUint32(at + 176, true),
      nrProgTags: view.getUint32(at + 180, true),
      progTags: view.getBigUint64(at + 184, true),
      runTimeNs: view.getBigUint64(at + 192, true),
      runCnt: view.getBigUint64(at + 200, true),
      recursionMisses: view.getBigUint64(at + 208, true),
      verifiedInsns: view.getUint32(at + 216, true),
      attachBtfObjId: view.getUint32(at + 220, true),
      attachBtfId: view.getUint32(at + 224, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfProgInfo>): void {
    setZero(view, at, 232);
    if (value.type !== undefined) view.setUint32(at, value.type, true);
    if (value.id !== undefined) view.setUint32(at + 4, value.id, true);
    if (value.tag !== undefined) setBytes(view, at + 8, value.tag, 8, "BpfProgInfo.tag");
    if (value.jitedProgLen !== undefined) view.setUint32(at + 16, value.jitedProgLen, true);
    if (value.xlatedProgLen !== undefined) view.setUint32(at + 20, value.xlatedProgLen, true);
    if (value.jitedProgInsns !== undefined) view.setBigUint64(at + 24, value.jitedProgInsns, true);
    if (value.xlatedProgInsns !== undefined) {
      view.setBigUint64(at + 32, value.xlatedProgInsns, true);
    }
    if (value.loadTime !== undefined) view.setBigUint64(at + 40, value.loadTime, true);
    if (value.createdByUid !== undefined) view.setUint32(at + 48, value.createdByUid, true);
    if (value.nrMapIds !== undefined) view.setUint32(at + 52, value.nrMapIds, true);
    if (value.mapIds !== undefined) view.setBigUint64(at + 56, value.mapIds, true);
    if (value.name !== undefined) setBytes(view, at + 64, value.name, 16, "BpfProgInfo.name");
    if (value.ifindex !== undefined) view.setUint32(at + 80, value.ifindex, true);
    if (value.netnsDev !== undefined) view.setBigUint64(at + 88, value.netnsDev, true);
    if (value.netnsIno !== undefined) view.setBigUint64(at + 96, value.netnsIno, true);
    if (value.nrJitedKsyms !== undefined) view.setUint32(at + 104, value.nrJitedKsyms, true);
    if (value.nrJitedFuncLens !== undefined) view.setUint32(at + 108, value.nrJitedFuncLens, true);
    if (value.jitedKsyms !== undefined) view.setBigUint64(at + 112, value.jitedKsyms, true);
    if (value.jitedFuncLens !== undefined) view.setBigUint64(at + 120, value.jitedFuncLens, true);
    if (value.btfId !== undefined) view.setUint32(at + 128, value.btfId, true);
    if (value.funcInfoRecSize !== undefined) view.setUint32(at + 132, value.funcInfoRecSize, true);
    if (value.funcInfo !== undefined) view.setBigUint64(at + 136, value.funcInfo, true);
    if (value.nrFuncInfo !== undefined) view.setUint32(at + 144, value.nrFuncInfo, true);
    if (value.nrLineInfo !== undefined) view.setUint32(at + 148, value.nrLineInfo, true);
    if (value.lineInfo !== undefined) view.setBigUint64(at + 152, value.lineInfo, true);
    if (value.jitedLineInfo !== undefined) view.setBigUint64(at + 160, value.jitedLineInfo, true);
    if (value.nrJitedLineInfo !== undefined) view.setUint32(at + 168, value.nrJitedLineInfo, true);
    if (value.lineInfoRecSize !== undefined) view.setUint32(at + 172, value.lineInfoRecSize, true);
    if (value.jitedLineInfoRecSize !== undefined) {
      view.setUint32(at + 176, value.jitedLineInfoRecSize, true);
    }
    if (value.nrProgTags !== undefined) view.setUint32(at + 180, value.nrProgTags, true);
    if (value.progTags !== undefined) view.setBigUint64(at + 184, value.progTags, true);
    if (value.runTimeNs !== undefined) view.setBigUint64(at + 192, value.runTimeNs, true);
    if (value.runCnt !== undefined) view.setBigUint64(at + 200, value.runCnt, true);
    if (value.recursionMisses !== undefined) {
      view.setBigUint64(at + 208, value.recursionMisses, true);
    }
    if (value.verifiedInsns !== undefined) view.setUint32(at + 216, value.verifiedInsns, true);
    if (value.attachBtfObjId !== undefined) view.setUint32(at + 220, value.attachBtfObjId, true);
    if (value.attachBtfId !== undefined) view.setUint32(at + 224, value.attachBtfId, true);
  },
} as const;

/** `struct bpf_link_info` */
export interface BpfLinkInfo {
  type: number;
  id: number;
  progId: number;
  // Members of unions are only in `offset`: the struct alone does not tell which one holds.
}

/** `struct bpf_link_info`: 48 bytes. */
export const BpfLinkInfo = {
  size: 48,
  offset: {
    type: 0,
    id: 4,
    progId: 8,
    rawTracepointTpName: 16,
    rawTracepointTpNameLen: 24,
    tracingAttachType: 16,
    tracingTargetObjId: 20,
    tracingTargetBtfId: 24,
    cgroupCgroupId: 16,
    cgroupAttachType: 24,
    iterTargetName: 16,
    iterTargetNameLen: 24,
    iterMapMapId: 28,
    iterCgroupCgroupId: 32,
    iterCgroupOrder: 40,
    iterTaskTid: 32,
    iterTaskPid: 36,
    netnsNetnsIno: 16,
    netnsAttachType: 20,
    xdpIfindex: 16,
  },
  read(view: DataView, at = 0): BpfLinkInfo {
    return {
      type: view.getUint32(at, true),
      id: view.getUint32(at + 4, true),
      progId: view.getUint32(at + 8, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfLinkInfo>): void {
    setZero(view, at, 48);
    if (value.type !== undefined) view.setUint32(at, value.type, true);
    if (value.id !== undefined) view.setUint32(at + 4, value.id, true);
    if (value.progId !== undefined) view.setUint32(at + 8, value.progId, true);
  },
} as const;

/** `struct bpf_link_info_tcx` */
export interface BpfLinkInfoTcx {
  type: number;
  id: number;
  progId: number;
  tcxIfindex: number;
  tcxAttachType: number;
}

/** `struct bpf_link_info_tcx`: 24 bytes. */
export const BpfLinkInfoTcx = {
  size: 24,
  offset: { type: 0, id: 4, progId: 8, tcxIfindex: 16, tcxAttachType: 20 },
  read(view: DataView, at = 0): BpfLinkInfoTcx {
    return {
      type: view.getUint32(at, true),
      id: view.getUint32(at + 4, true),
      progId: view.getUint32(at + 8, true),
      tcxIfindex: view.getUint32(at + 16, true),
      tcxAttachType: view.getUint32(at + 20, true),
    };
  },
  write(view: DataView, at: number, value: Partial<BpfLinkInfoTcx>): void {
    setZero(view, at, 24);
    if (value.type !== undefined) view.setUint32(at, value.type, true);
    if (value.id !== undefined) view.setUint32(at + 4, value.id, true);
    if (value.progId !== undefined) view.setUint32(at + 8, value.progId, true);
    if (value.tcxIfindex !== undefined) view.setUint32(at + 16, value.tcxIfindex, true);
    if (value.tcxAttachType !== undefined) view.setUint32(at + 20, value.tcxAttachType, true);
  },
} as const;

/** `enum bpf_map_type` */
export const BpfMapType = {
  unspec: 0,
  hash: 1,
  array: 2,
  progArray: 3,
  perfEventArray: 4,
  percpuHash: 5,
  percpuArray: 6,
  stackTrace: 7,
  cgroupArray: 8,
  lruHash: 9,
  lruPercpuHash: 10,
  lpmTrie: 11,
  arrayOfMaps: 12,
  hashOfMaps: 13,
  devmap: 14,
  sockmap: 15,
  cpumap: 16,
  xskmap: 17,
  sockhash: 18,
  cgroupStorage: 19,
  reuseportSockarray: 20,
  percpuCgroupStorage: 21,
  queue: 22,
  stack: 23,
  skStorage: 24,
  devmapHash: 25,
  structOps: 26,
  ringbuf: 27,
  inodeStorage: 28,
  taskStorage: 29,
  bloomFilter: 30,
  userRingbuf: 31,
} as const;

export type BpfMapType = (typeof BpfMapType)[keyof typeof BpfMapType];

const BPF_MAP_TYPE_NAMES: Readonly<Record<number, string>> = {
  0: "unspec",
  1: "hash",
  2: "array",
  3: "prog_array",
  4: "perf_event_array",
  5: "percpu_hash",
  6: "percpu_array",
  7: "stack_trace",
  8: "cgroup_array",
  9: "lru_hash",
  10: "lru_percpu_hash",
  11: "lpm_trie",
  12: "array_of_maps",
  13: "hash_of_maps",
  14: "devmap",
  15: "sockmap",
  16: "cpumap",
  17: "xskmap",
  18: "sockhash",
  19: "cgroup_storage",
  20: "reuseport_sockarray",
  21: "percpu_cgroup_storage",
  22: "queue",
  23: "stack",
  24: "sk_storage",
  25: "devmap_hash",
  26: "struct_ops",
  27: "ringbuf",
  28: "inode_storage",
  29: "task_storage",
  30: "bloom_filter",
  31: "user_ringbuf",
};

/** The name of a value of `enum bpf_map_type`, or the number as text. */
export function bpfMapTypeName(value: number): string {
  return BPF_MAP_TYPE_NAMES[value] ?? String(value);
}

/** `enum bpf_prog_type` */
export const BpfProgType = {
  unspec: 0,
  socketFilter: 1,
  kprobe: 2,
  schedCls: 3,
  schedAct: 4,
  tracepoint: 5,
  xdp: 6,
  perfEvent: 7,
  cgroupSkb: 8,
  cgroupSock: 9,
  lwtIn: 10,
  lwtOut: 11,
  lwtXmit: 12,
  sockOps: 13,
  skSkb: 14,
  cgroupDevice: 15,
  skMsg: 16,
  rawTracepoint: 17,
  cgroupSockAddr: 18,
  lwtSeg6local: 19,
  lircMode2: 20,
  skReuseport: 21,
  flowDissector: 22,
  cgroupSysctl: 23,
  rawTracepointWritable: 24,
  cgroupSockopt: 25,
  tracing: 26,
  structOps: 27,
  ext: 28,
  lsm: 29,
  skLookup: 30,
  syscall: 31,
} as const;

export type BpfProgType = (typeof BpfProgType)[keyof typeof BpfProgType];

/** `enum bpf_attach_type` */
export const BpfAttachType = {
  cgroupInetIngress: 0,
  cgroupInetEgress: 1,
  cgroupInetSockCreate: 2,
  cgroupSockOps: 3,
  skSkbStreamParser: 4,
  skSkbStreamVerdict: 5,
  cgroupDevice: 6,
  skMsgVerdict: 7,
  cgroupInet4Bind: 8,
  cgroupInet6Bind: 9,
  cgroupInet4Connect: 10,
  cgroupInet6Connect: 11,
  cgroupInet4PostBind: 12,
  cgroupInet6PostBind: 13,
  cgroupUdp4Sendmsg: 14,
  cgroupUdp6Sendmsg: 15,
  lircMode2: 16,
  flowDissector: 17,
  cgroupSysctl: 18,
  cgroupUdp4Recvmsg: 19,
  cgroupUdp6Recvmsg: 20,
  cgroupGetsockopt: 21,
  cgroupSetsockopt: 22,
  traceRawTp: 23,
  traceFentry: 24,
  traceFexit: 25,
  modifyReturn: 26,
  lsmMac: 27,
  traceIter: 28,
  cgroupInet4Getpeername: 29,
  cgroupInet6Getpeername: 30,
  cgroupInet4Getsockname: 31,
  cgroupInet6Getsockname: 32,
  xdpDevmap: 33,
  cgroupInetSockRelease: 34,
  xdpCpumap: 35,
  skLookup: 36,
  xdp: 37,
  skSkbVerdict: 38,
  skReuseportSelect: 39,
  skReuseportSelectOrMigrate: 40,
  perfEvent: 41,
  traceKprobeMulti: 42,
  lsmCgroup: 43,
} as const;

export type BpfAttachType = (typeof BpfAttachType)[keyof typeof BpfAttachType];

/** `enum bpf_link_type` */
export const BpfLinkType = {
  unspec: 0,
  rawTracepoint: 1,
  tracing: 2,
  cgroup: 3,
  iter: 4,
  netns: 5,
  xdp: 6,
  perfEvent: 7,
  kprobeMulti: 8,
  structOps: 9,
} as const;

export type BpfLinkType = (typeof BpfLinkType)[keyof typeof BpfLinkType];

/** `enum bpf_tc_attach_point` */
export const BpfTcAttachPoint = {
  ingress: 1,
  egress: 2,
  custom: 4,
} as const;

export type BpfTcAttachPoint = (typeof BpfTcAttachPoint)[keyof typeof BpfTcAttachPoint];
