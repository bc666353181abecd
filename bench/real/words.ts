/** @file The words that the prompts for the real model are made of. None was left out for what the model does with it. */

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

/** Well-known cities and the country each lies in. */
export const CITIES: readonly (readonly [city: string, country: string])[] = words(`
  Paris:France Berlin:Germany Rome:Italy Madrid:Spain Tokyo:Japan Moscow:Russia London:England Dublin:Ireland Cairo:Egypt
  Baghdad:Iraq Havana:Cuba Tehran:Iran Damascus:Syria Athens:Greece Lisbon:Portugal Vienna:Austria Beijing:China
  Nairobi:Kenya Warsaw:Poland Lima:Peru Santiago:Chile Budapest:Hungary Stockholm:Sweden Oslo:Norway Copenhagen:Denmark
  Helsinki:Finland Brussels:Belgium Toronto:Canada Istanbul:Turkey Beirut:Lebanon Bangkok:Thailand Hanoi:Vietnam
  Jakarta:Indonesia Manila:Philippines Kabul:Afghanistan Tripoli:Libya Jerusalem:Israel Kiev:Ukraine Sydney:Australia
  Delhi:India Karachi:Pakistan Dhaka:Bangladesh Edinburgh:Scotland Zurich:Switzerland Amsterdam:Netherlands Lagos:Nigeria
  Cardiff:Wales Sofia:Bulgaria Milan:Italy Barcelona:Spain Munich:Germany Lyon:France Shanghai:China Melbourne:Australia
  Kyoto:Japan Bergen:Norway Porto:Portugal Geneva:Switzerland Montreal:Canada Mumbai:India`).map((entry) => {
  const [city, country] = entry.split(":");
  return [city, country] as const;
});

/** Orders that everybody knows by heart; `closed` ones start again after the last. */
export const ORDERS: readonly { readonly words: readonly string[]; readonly closed: boolean }[] = [
  {
    words: words("January February March April May June July August September October November December"),
    closed: true,
  },
  {
    words: words(
      "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen",
    ),
    closed: false,
  },
  { words: words("first second third fourth fifth sixth seventh eighth ninth tenth"), closed: false },
  { words: words("A B C D E F G H I J K L M N O P Q R S T U V W X Y Z"), closed: false },
];

/** Things that have nothing to do with each other. */
export const THINGS = words(`
  ball box cup book chair table car house door hat coat shirt shoe bag pen pencil phone lamp clock bottle bowl plate spoon
  knife key ring flag boat train bike truck kite balloon flower bird cat dog horse fish umbrella blanket pillow carpet
  curtain towel scarf sock dress skirt jacket belt wall fence roof gate bridge tent basket bucket brush candle mug vase jar
  river stone cloud paper forest mountain window garden engine guitar ladder mirror island desert hammer needle rocket
  sugar butter orange rabbit tiger spider letter coin crown sword shield wheel rope`);

export const MALE_NAMES = words(`
  James John Robert Michael William David Richard Joseph Thomas Charles Daniel Matthew Anthony Mark Paul Steven Andrew Kevin
  Brian George Edward Ronald Timothy Jason Jeffrey Ryan Jacob Gary Nicholas Eric Jonathan Stephen Larry Justin Scott Frank
  Benjamin Samuel Patrick Jack`);

export const FEMALE_NAMES = words(`
  Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa Nancy Betty Margaret Sandra Ashley Emily
  Donna Michelle Carol Amanda Melissa Deborah Stephanie Rebecca Laura Helen Sharon Cynthia Kathleen Amy Angela Anna Ruth
  Brenda Emma Nicole Katherine Samantha Christine`);

/** What either may be. */
export const PEOPLE = words(`
  friend teacher student writer singer cook lawyer doctor runner painter artist poet player reader speaker driver leader
  manager coach judge scientist engineer pilot chef editor author neighbor colleague dancer farmer guide listener nurse
  baker partner researcher photographer musician swimmer storyteller`);

/** Names that programmers give to what holds values, to a value, and to a place among values. */
export const CONTAINERS = words(`
  names values items lines words list data array rows files users nodes keys colors points scores labels tokens pages events
  images sizes prices dates orders tables cells blocks records fields groups tasks steps weights models letters digits
  layers rules paths`);

export const TARGETS = words(`
  result value item total first last name line count output entry current user node color point score label token page
  event image size price date order cell block record field group task step weight model letter text path answer best`);

export const INDICES = words(`
  index key start i j k n x offset pos id begin base left right low high mid shift step size length width height depth count
  level delta row col num max min end next prev total rank time page`);
